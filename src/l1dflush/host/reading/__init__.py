"""What a host says about itself: its files, CPUID and MSRs, read and never written."""
