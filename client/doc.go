// Package client is one device: a local store that works without a network, and
// the loop that keeps it in step with a server.
//
// A device keeps everything in one directory: device.db, an SQLite file with the
// records, the unsent changes, the drafts and the device's key; device.sealed, the
// sealed outbox, which outlives the store (see [Client.Deliver]); device.lock,
// which keeps a second process out; and device.reserve, a megabyte that says nothing:
// room to be given up when the disk is full, so that the store can still be opened,
// read and sent from. Every save is one transaction that is on the disk before the
// call returns (WAL, synchronous=FULL); a change and its place in the outbox are in it
// together, and it is sealed before the call returns.
//
// Reads show what a screen should show: the server's state as of the last
// complete cut, with the device's own unsettled changes on top. Nothing that
// reads or saves ever waits for the network.
//
// # Use
//
// [Open] opens a store, or makes one; [Client.Enroll] makes it that of a person and a
// device; [Client.Session] says whose it is. All methods of a [Client] are safe for
// concurrent use. [Client.Close] ends it.
//
//	c, err := client.Open(ctx, dir, client.Options{Logger: log})
//	err = c.Enroll(ctx, "https://tandem.example.org", code)
//	saved, err := c.Edit(ctx, func(e *client.Edit) error {
//		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
//		return err
//	})
//	moved, err := c.Sync(ctx)
//
// [Client.Edit] is the one way to write. What it does to a record begins with a [View]
// of it ([Client.Get], [Client.List], [Client.Search]): the view that a person saw, so that
// the save names the values that it writes over. A save is checked by the rules that the
// server has; an [InvalidError] names fields and never a value. Typing that is not saved
// yet is kept as a draft ([Client.SaveDraft]).
//
// [Client.Sync] sends and reads once, to the end; [Client.Run] does so for as long as the
// app lives, and [Options].OnChange says what to show anew. What went wrong with a server
// is a [*ContactError] of kind [ErrNetwork], [ErrBusy], [ErrRefused], [ErrServerKey] or
// [ErrRejected], with words for the person. None of them is a verdict on a save.
//
// A [Conflict] of a view holds the values of a field that two people wrote without having
// seen each other's; [Edit.Resolve] settles it. [Client.Quarantined] lists own saves that
// the server keeps and did not apply. [Client.Status] and [Client.Estimate] say what waits.
//
// The messages of package gen/tandem/v1 are the kinds of record. docs/client.md walks
// through a program of one's own; docs/protocol.md is for clients in other languages.
//
// # Vaults and wipes
//
// With Options.Vault the store is kept in a vault: device.db and its log are sealed
// (package vault), and device.key holds their key, wrapped by a passphrase. Such a store
// hides what it holds after five idle minutes ([Client.Touch], [Client.Unlock]); saves,
// drafts and syncs go on. [Client.Erase] destroys the key and leaves the sealed outbox.
// Where an admin has ordered the device to be wiped, Sync and Run send what the server does
// not have, erase the store and acknowledge that; their error is [ErrWiped], and
// device.wipe says so from then on.
//
// # What a network may do
//
// An answer changes the device only if it is whole: HTTP 200, our content type and
// header, and a frame whose schema, count, digest and end mark fit. A login page,
// a redirect, an empty or cut-off answer, a proxy's 407 or 511 is no answer at all
// ([ErrNetwork]) and never a verdict on a note. After a push whose answer did not
// come the next request carries no changes and asks what arrived.
//
// Requests are as large as the link carries in some seconds, by rates and round trip
// as measured; where something on the way refuses a body as too large the next is
// smaller. Urgent saves travel before others and alone with what they need, so that a
// broken connection costs what was in flight and no more. Run waits for news at the
// server; where a proxy ends such waits it asks for shorter ones, then at intervals,
// and tries again later. [Client.Estimate] says what waits and how long it takes.
//
// # Clocks
//
// The wall clock may show anything. Each contact samples the server's time with the
// bound that its round trip gives; between contacts the monotonic clock carries it.
// Saves say what all the clocks say. Certificates are judged by the server's time as
// far as it is known, and the key that the server had last is taken whatever the
// time. After 30 days without contact charts close ([ErrLease]); saves and syncs go
// on.
//
// # What a disk may do
//
// A power cut loses nothing that was acknowledged, wherever it falls, as long as the
// drive keeps what it was told to sync. A drive that lies about that loses saves, and
// no software can tell. After an error of the disk nothing of the step is saved, and
// the store can be used on.
//
// Verify finds a changed byte in what a record holds or in a change that waits, and
// so does the push: such a change is not sent. It does not find a whole file set back
// to an older state (the server does, at the next contact), a changed byte in a
// draft, in the settings, in the verdict on a change or in an index that SQLite does
// not compare, nor one in a page that nothing uses.
package client
