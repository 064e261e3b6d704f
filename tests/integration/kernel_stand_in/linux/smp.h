void on_each_cpu(void (*function)(void *), void *info, int wait);
