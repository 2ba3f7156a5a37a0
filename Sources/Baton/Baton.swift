// The library: everything an embedder needs with one import.
@_exported import BatonChannel
@_exported import BatonController
@_exported import BatonHost
@_exported import BatonOwnership
@_exported import BatonSharedMemory
@_exported import BatonStorage
@_exported import BatonSubsystem
