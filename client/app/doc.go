// Package app is the field app: pages on loopback over a device's store, that never need
// a network. It is what a co-responder holds in the car.
//
//	a, err := app.New(app.Options{Dir: "car12", Link: func(url string) { fmt.Println(url) }})
//	err = a.Serve(ctx, listener)
//
// Serve keeps the device in step with its server while it serves (client.Run). A page
// never waits for that: everything it shows and saves is in the store.
//
// # Who may ask
//
// The app listens on loopback, where any process of the machine and any page of the
// browser can knock. Each start draws a port, a path under which all pages stand, and a
// key. A link with the key is good once and is exchanged for a cookie, which is bound to
// that path, so that the browser tells it to nothing else on loopback; the next link is
// made when one was used. Requests under another name than the listener's, from another
// origin, or without the cookie are refused. Pages are kept nowhere (no-store) and run
// no script but the app's own.
//
// # Typing
//
// What somebody types goes into a draft of the store within 300 ms of the first
// keystroke (client.SaveDraft): field by field, so that two windows do not write over
// each other. A draft remembers the record as the page showed it; when it becomes a
// save, after a minute of quiet, on leaving the page or with a button, the save names
// what its author saw, and what arrived meanwhile stands beside it. Where two windows
// typed in the same field, both texts are shown. A lock hides the page and keeps the
// draft; a crash loses what is younger than that.
//
// # The status
//
// The line on top tells how far the words are, each from a fact of the store: saved here
// (in the store, and the server is not known to have it), sent (the server has confirmed
// it), verified (what is here and at the server was proved the same, by digest), needs
// you (a person has to decide: see the tray).
package app
