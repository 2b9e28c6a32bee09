"""Run programs by name: `python docs/examples maml reinforce`."""

import importlib
import sys

for name in sys.argv[1:]:
    importlib.import_module(name).main()
    print(f"{name}: learned")
