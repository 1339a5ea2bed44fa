// Package mobile is package client for apps in Java, Kotlin, Swift and Objective-C: an
// API that golang.org/x/mobile binds whole. It has what a field app needs of package
// client, and not all of it. Write Go against package client instead.
//
// One [Device] is one store. [Open] opens it, [Device.Enroll] makes it a person's. Bodies
// of records cross as protobuf messages of proto/tandem/v1, for which an app generates
// its own classes: a [View] holds one, a [Save] takes them. Everything else is numbers,
// texts and small objects.
//
// # Threads and time
//
// All methods may be called on any thread. Those that meet a server say so and take the
// time that they may last; no other waits for a network, but all of them wait for the
// disk, so call none on the thread that draws. The methods of a [Host] are called on any
// thread, several at a time, and [Host].Passphrase on the one that opens the device; they
// must return soon.
//
// # Staying in step
//
// [Device.Start] begins the loop, and [Device.Network] and [Device.Power] tell it what
// the system tells the app. It does what these allow:
//
//	no network            nothing, but for a try every 15 minutes while something waits
//	                      to be sent: a system may be wrong about its network
//	in front              pushes at once and waits at the server for news
//	in front, saving      pushes at once, asks for news every 5 minutes
//	in the background     pushes at once, asks every 15 minutes
//	  metered or saving   pushes at once, asks every 30 minutes
//
// But where it waits at the server, it lets two seconds of saves gather before it pushes,
// an urgent one excepted; and after a failure it rests, longer each time, and at least as
// long as the server asks.
//
// A phone stops a process in the background when it likes. For the windows that it gives
// out there is [Device.SyncOnce], which does one whole round within its time. Nothing
// depends on any of this being right: a save is on the disk when [Device.Commit] returns,
// and goes with the next contact, whenever that is.
//
// # Errors
//
// The bindings carry the text of an error alone. It is a code, a colon and words for a
// person; [ErrorCode] and [ErrorWords] take it apart. docs/mobile.md walks through an app.
package mobile
