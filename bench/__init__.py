"""The harness: suites expand to cases, each case runs in a process of its own, records come out."""
