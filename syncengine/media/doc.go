// Package media is what the two ends know of files that people attach: which ones are
// taken, and what of a file is never kept.
//
// [Clean] turns a file into the bytes that are stored, hashed and sent. Of a picture it
// keeps the picture and nothing else: what is needed to decode it, and which way up it
// is. Where and when it was taken, with what, by whom, and the small copies of it that
// cameras put beside it all stand in parts that are left out, as does whatever follows
// the picture's end. The pixels are not touched, so that nothing of them is lost.
//
// A picture is decoded before it is taken: what is not what it claims to be is refused.
// Of a PDF what stands in the clear on its author, its dates and its program is blanked, and
// one that names a script, an action that leaves it or another file is refused, also where
// that stands in a packed stream of objects, and one that cannot be looked into: a page to
// open at is no such action. That is no proof that a document is harmless,
// and what is packed otherwise stays: it is handed on as a file to be saved, never shown in
// a page. Of a sound (MPEG-4) the sound is kept, without tags, pictures, places and times.
//
// [Checked] asks whether bytes are as Clean leaves them, without decoding them; a server
// asks that of what it is sent.
//
// Whatever a file holds, both take time and memory as its size, which is bounded, and as
// that of the picture or of the 64 MiB of a document that they unpack at most: who calls
// them does so outside of what others wait for, and for few files at a time.
//
// Like the engine the package has no I/O, clock, logger or chance of its own.
package media
