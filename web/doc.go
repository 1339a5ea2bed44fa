// Package web is what the field app and the console share: one layout, one set of
// components, the words in English and Spanish, and the assets, all embedded, so that
// no page asks another server for anything.
//
// Templates are html/template. A page is a template that fills the layout:
//
//	t, err := web.Templates("es", words, files, "pages/*.html")
//	t.ExecuteTemplate(w, "today", data)   // data holds a web.Page in its field Page
//
// # The look
//
// Calm and legible: one typeface, that of the system; one accent; no picture without a
// meaning. Text has a contrast of 7:1 and more in every theme, targets are 48 pixels and
// more, states are told by shape and word and never by colour alone. The sign of the
// two bars is the one thing drawn: the left bar is this device, the right one the
// server; filled is "has it", a rail between them is "proved the same".
//
// # Scripts
//
// Pages work without a script. static/tandem.js makes them better: it keeps typing
// as it happens, follows the status, runs the timers. There is no inline script and no
// inline style, so that the policy of a page can forbid both: see Headers.
package web
