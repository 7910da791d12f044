"""The admin API: JSON over a Unix socket whose peers the kernel names. A noun a file."""
