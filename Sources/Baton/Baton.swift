@_exported import enum BatonChannel.Operation
// The library: what an embedder needs with one import. The floors behind it are public to each other, because only
// what is public and inlinable is compiled into the floor that calls it; they are not products, and this list is
// what the library promises.
@_exported import struct BatonChannel.Request
@_exported import struct BatonChannel.Service
@_exported import enum BatonChannel.Status
@_exported import struct BatonController.Controller
@_exported import struct BatonController.ControllerOptions
@_exported import class BatonController.ControllerStopper
@_exported import struct BatonController.QueuedLog
@_exported import class BatonHost.AsyncHost
@_exported import struct BatonHost.Completion
@_exported import struct BatonHost.Host
@_exported import struct BatonHost.HostOptions
@_exported import class BatonHost.HostWaker
@_exported import struct BatonHost.RequestFailure
@_exported import struct BatonHost.SubsystemIdentity
@_exported import struct BatonHost.UnitDescription
@_exported import struct BatonNBD.NBDLimits
@_exported import enum BatonNBDServer.NBDAddress
@_exported import struct BatonNBDServer.NBDServer
@_exported import struct BatonNBDServer.NBDServerOptions
@_exported import enum BatonOwnership.ControllerIdentity
@_exported import enum BatonOwnership.ResidencyPolicy
@_exported import enum BatonSharedMemory.WaitStrategy
@_exported import struct BatonStorage.FaultPlan
@_exported import struct BatonStorage.UnitSpecification
@_exported import enum BatonSubsystem.Counter
@_exported import struct BatonSubsystem.SpawnedController
@_exported import struct BatonSubsystem.Subsystem
@_exported import struct BatonSubsystem.SubsystemLocation
@_exported import struct BatonSubsystem.SubsystemStatus
@_exported import struct BatonSubsystem.SubsystemView
@_exported import enum BatonSubsystem.UnitState
@_exported import struct BatonSystem.BatonError
@_exported import enum BatonSystem.ByteCount
