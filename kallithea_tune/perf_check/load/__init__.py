"""The load that the application is put under, and how throughput grows with its workers."""
