package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/media"
	"google.golang.org/protobuf/proto"
)

// A fileVector is a file as it was given, and what is kept of it, or why it is refused.
type fileVector struct {
	Name   string `json:"name"`
	Raw    hexed  `json:"raw"`
	Type   string `json:"type,omitempty"`
	Kept   hexed  `json:"kept,omitempty"`
	SHA256 hexed  `json:"sha256,omitempty"`
	Error  string `json:"error,omitempty"`
}

// A callVector is a request and the answer to it.
type callVector struct {
	Name    string `json:"name"`
	Call    string `json:"call"`
	Request hexed  `json:"request"`
	Answer  hexed  `json:"answer"`
}

// files are what is kept of files, and the calls that bring and read one.
func (v *vectors) files() any {
	file := bytes.Repeat([]byte("What the letter says.\n"), 240)
	hash := sha256.Sum256(file)
	return map[string]any{
		"kept": v.kept(), "attachment": hexed(v.record[:]), "file": hexed(file), "sha256": hexed(hash[:]),
		"least_piece": syncengine.MinChunk, "largest_piece": syncengine.MaxChunk, "calls": v.blobCalls(file),
	}
}

func (v *vectors) kept() (out []fileVector) {
	chunk := func(name, data string) string {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		b = append(b, name+data...)
		return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:])))
	}
	box := func(name, body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + name + body
	}
	head := "\x89PNG\r\n\x1a\n" + chunk("IHDR", "\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00")
	rest := chunk("IDAT", "\x78\x01\x01\x02\x00\xfd\xff\x00\x80\x00\x82\x00\x81") + chunk("IEND", "")
	track := box("trak", box("mdia", box("hdlr", "\x00\x00\x00\x00\x00\x00\x00\x00soun\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00recorder\x00")))
	for _, f := range []struct{ name, raw string }{
		{"a text", "Gate code on file.\n"},
		{"a picture with a comment, and something behind it", head + chunk("tEXt", "Comment\x00where it was taken") + rest + "more"},
		{"a sound with a tag", box("ftyp", "M4A \x00\x00\x00\x00") + box("moov", track+box("udta", "where it was made")) + box("mdat", "sound")},
		{"a document with its author", "%PDF-1.7\n1 0 obj <</Author (A. Person)>> endobj\ntrailer <</Info 1 0 R>>\n%%EOF"},
		{"a document with a script", "%PDF-1.7\n1 0 obj <</S /Java#53cript>> endobj\n%%EOF"},
		{"nothing", ""},
		{"a program", "\x7fELF\x02\x01\x01\x00"},
		{"a picture that is cut short", head},
	} {
		made := fileVector{Name: f.name, Raw: hexed(f.raw)}
		clean, err := media.Clean([]byte(f.raw))
		if err != nil {
			made.Error = err.Error()
		} else {
			sum := sha256.Sum256(clean.Bytes)
			made.Type, made.Kept, made.SHA256 = clean.Type, clean.Bytes, sum[:]
		}
		out = append(out, made)
	}
	return out
}

// blobCalls are one file on its way up, with a loss, and down.
func (v *vectors) blobCalls(file []byte) (out []callVector) {
	id, cut, size := v.record[:], syncengine.MinChunk, uint64(len(file))
	call := func(name, to string, request, answer proto.Message) {
		out = append(out, callVector{name, to, v.raw(request), v.raw(answer)})
	}
	put := func(name string, offset int, data []byte, held uint64) {
		call(name, "PutBlobChunk", &tandemv1.PutBlobChunkRequest{Attachment: id, Offset: uint64(offset), Data: data},
			&tandemv1.PutBlobChunkResponse{Wanted: true, Held: held, Complete: held == size})
	}
	put("how far is it", 0, nil, 0)
	put("the first piece", 0, file[:cut], uint64(cut))
	put("the first piece once more, for its answer was lost", 0, file[:cut], uint64(cut))
	put("the last piece, which alone may be small", cut, file[cut:], size)
	call("a record that is another's, or is not there", "PutBlobChunk", &tandemv1.PutBlobChunkRequest{Attachment: v.person[:]}, &tandemv1.PutBlobChunkResponse{})
	get := func(name string, offset, limit int, data []byte) {
		call(name, "GetBlobChunk", &tandemv1.GetBlobChunkRequest{Attachment: id, Offset: uint64(offset), Limit: uint32(limit)},
			&tandemv1.GetBlobChunkResponse{Size: size, Data: data})
	}
	get("the first piece", 0, cut, file[:cut])
	get("what is left", cut, cut, file[cut:])
	get("behind the end", len(file), cut, nil)
	call("what is not there for you", "GetBlobChunk", &tandemv1.GetBlobChunkRequest{Attachment: v.person[:]}, &tandemv1.GetBlobChunkResponse{})
	return out
}
