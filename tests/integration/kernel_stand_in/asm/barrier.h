#define mb() __sync_synchronize()
