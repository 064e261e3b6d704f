"""The flush before VM entry: the whole subsystem that the seed patch began, a model machine for it, and /dev/kvm."""
