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
// [Checked] asks whether bytes are as Clean leaves them, without decoding them; a server
// asks that of what it is sent.
//
// Like the engine the package has no I/O, clock, logger or chance of its own.
package media
