pytest_plugins = ["bench.harness.plugin", "attacks.fixtures"]
