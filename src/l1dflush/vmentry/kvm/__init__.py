"""Guests through /dev/kvm, with the flush before each entry natively."""
