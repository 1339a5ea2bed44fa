// Package client is one device: a local store that works without a network, and
// the loop that keeps it in step with a server.
//
// A device keeps everything in one directory: device.db, an SQLite file with the
// records, the unsent changes, the drafts and the device's key; device.sealed, the
// sealed outbox, which outlives the store (see [Client.Deliver]); and device.lock,
// which keeps a second process out. Every save is one transaction that is on the disk
// before the call returns (WAL, synchronous=FULL); a change and its place in the outbox
// are in it together, and it is sealed before the call returns.
//
// Reads show what a screen should show: the server's state as of the last
// complete cut, with the device's own unsettled changes on top. Nothing that
// reads or saves ever waits for the network.
//
//	c, err := client.Open(ctx, dir, client.Options{Logger: log})
//	saved, err := c.Edit(ctx, func(e *client.Edit) error {
//		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
//		return err
//	})
//	moved, err := c.Sync(ctx)
//
// # What a network may do
//
// An answer changes the device only if it is whole: HTTP 200, our content type and
// header, and a frame whose schema, count, digest and end mark fit. A login page,
// a redirect, an empty or cut-off answer, a proxy's 407 or 511 is no answer at all
// ([ErrNetwork]) and never a verdict on a note. After a push whose answer did not
// come the next request carries no changes and asks what arrived.
package client
