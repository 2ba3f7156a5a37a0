#if Simulation
  import BatonController
  import BatonSystem
  import CBatonMachine
  import Glibc

  var simulate = Simulate(CommandLine.arguments)
  exit(simulate.run())
#else
  print("built without the trait: use tools/simulate")
#endif
