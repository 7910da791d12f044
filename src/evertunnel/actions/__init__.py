"""One verb a file: the only place that changes stored state. Plain functions of a store, arguments and `now`."""
