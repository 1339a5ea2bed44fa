package media

import (
	"bytes"
	"compress/zlib"
	"io"
	"regexp"
	"strconv"
	"strings"
)

const (
	pdfMark, pdfEnd = "%PDF-", "%%EOF"
	// pdfTail is how far from its end a file says that it ends.
	pdfTail = 1024
	// maxUnpacked bounds what is unpacked of one file.
	maxUnpacked = 64 << 20
	// maxInfos is how many dictionaries that say who wrote it a document may have: one for
	// each time that it was saved, and mostly one.
	maxInfos = 64
	// maxDepth is how deep dictionaries may stand in one that says who wrote it.
	maxDepth = 64
)

// pdfActive are the names by which a document does something when it is opened, or holds
// another file (ISO 32000-1, 12.6.4, 7.11.4).
var pdfActive = map[string]bool{
	"JavaScript": true, "JS": true, "Launch": true, "EmbeddedFile": true, "EmbeddedFiles": true, "RichMedia": true, "XFA": true,
	"SubmitForm": true, "ImportData": true, "GoToE": true, "GoToR": true, "AA": true,
}

// pdfShort are those of them that the bytes of a picture may hold by chance: within a
// stream they do not count. What they do takes another of those beside them.
var pdfShort = map[string]bool{"JS": true, "AA": true}

var (
	pdfInfo   = regexp.MustCompile(`/Info[\x00\t\n\f\r ]+(\d{1,10})[\x00\t\n\f\r ]+(\d{1,5})[\x00\t\n\f\r ]+R`)
	pdfStream = regexp.MustCompile(`>>[\x00\t\n\f\r ]*stream`)
	// pdfPacked is all that the dictionary of a stream of packed objects may say: what is
	// packed otherwise than in one way cannot be looked into here.
	pdfPacked = regexp.MustCompile(strings.ReplaceAll(`^obj *<<( */(Type */ObjStm|N +\d+|First +\d+|Length +\d+( +\d+ +R)?|Extends +\d+ +\d+ +R|Filter *(/FlateDecode|\[ */FlateDecode *\])))* *>>$`, " ", `[\x00\t\n\f\r ]`))
	// pdfFirst is where in a stream of packed objects the first begins. Readers go by that,
	// and not by what the stream is called.
	pdfFirst = regexp.MustCompile(`/First[^A-Za-z0-9]`)
	pdfXMP   = regexp.MustCompile(`(?s)<\?xpacket begin.*?<\?xpacket end[^>]*\?>`)
)

// cleanPDF returns a document without what stands in the clear on who wrote it when and
// with what, and without what follows its end. The places of its parts stay the same. What
// a program has packed is not repacked.
func cleanPDF(raw []byte) ([]byte, error) {
	end := bytes.LastIndex(raw, []byte(pdfEnd))
	if end < 0 || end < len(raw)-pdfTail {
		return nil, ErrDamaged
	}
	clean := append(bytes.Clone(raw[:end]), pdfEnd+"\n"...)
	// What is blanked may bring words together that stood apart.
	const most = 4
	for range most {
		before := bytes.Clone(clean)
		if err := blankPDF(clean); err != nil {
			return nil, err
		}
		if bytes.Equal(before, clean) {
			if err := pdfInert(clean); err != nil {
				return nil, err
			}
			return clean, nil
		}
	}
	return nil, ErrDamaged
}

// blankPDF blanks what a document says of itself: its dictionaries of that, and packets of
// metadata. It goes through the document once, whatever that holds.
func blankPDF(b []byte) error {
	infos := map[pdfObject]bool{}
	for _, m := range pdfInfo.FindAllSubmatch(b, -1) {
		infos[pdfNumbers(m[1], m[2])] = true
		if len(infos) > maxInfos {
			return ErrDamaged
		}
	}
	for at := 0; len(infos) > 0 && at < len(b); {
		i := bytes.Index(b[at:], []byte("obj"))
		if i < 0 {
			break
		}
		object, ok := pdfHead(b[:at+i])
		at = pdfAfter(b, at+i+len("obj"))
		if !ok || !infos[object] || !bytes.HasPrefix(b[at:], []byte("<<")) {
			continue
		}
		// What stands within is not looked at again.
		end := dictionaryEnd(b, at+len("<<"))
		if end == len(b) {
			return ErrDamaged
		}
		blank(b[at+len("<<") : end])
		at = end
	}
	for _, at := range pdfXMP.FindAllIndex(b, -1) {
		blank(b[at[0]:at[1]])
	}
	return nil
}

// pdfObject is the number of an object, and of its generation.
type pdfObject [2]uint64

func pdfNumbers(number, generation []byte) pdfObject {
	// They are digits, and few.
	n, _ := strconv.ParseUint(string(number), 10, 64)
	g, _ := strconv.ParseUint(string(generation), 10, 64)
	return pdfObject{n, g}
}

// pdfHead returns the object whose two numbers stand at the end of bytes.
func pdfHead(b []byte) (pdfObject, bool) {
	const number, generation = 10, 5
	b, g := pdfDigits(b, generation)
	b, n := pdfDigits(b, number)
	return pdfNumbers(n, g), len(n) > 0 && len(g) > 0 && (len(b) == 0 || b[len(b)-1] < '0' || b[len(b)-1] > '9')
}

// pdfDigits cuts up to most digits that white space follows off the end of bytes.
func pdfDigits(b []byte, most int) (rest, digits []byte) {
	end := len(b)
	for end > 0 && pdfSpace(b[end-1]) {
		end--
	}
	at := end
	for end < len(b) && at > 0 && end-at < most && b[at-1] >= '0' && b[at-1] <= '9' {
		at--
	}
	return b[:at], b[at:end]
}

func pdfSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

// pdfAfter returns where white space ends that stands at.
func pdfAfter(b []byte, at int) int {
	for at < len(b) && pdfSpace(b[at]) {
		at++
	}
	return at
}

func blank(b []byte) {
	for i := range b {
		b[i] = ' '
	}
}

// dictionaryEnd returns where the >> of a dictionary stands whose content begins at; the
// end of all where there is none, or others stand too deep within it.
func dictionaryEnd(b []byte, at int) int {
	for depth := 0; at < len(b) && depth <= maxDepth; at++ {
		switch pair := b[at:min(at+2, len(b))]; {
		case b[at] == '(':
			at = stringEnd(b, at)
		case string(pair) == "<<":
			depth++
			at++
		case string(pair) == ">>" && depth == 0:
			return at
		case string(pair) == ">>":
			depth--
			at++
		}
	}
	return len(b)
}

// stringEnd returns where the ) of a string stands that begins at.
func stringEnd(b []byte, at int) int {
	for depth := 0; at < len(b); at++ {
		switch b[at] {
		case '\\':
			at++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return at
			}
		}
	}
	return len(b)
}

// pdfInert returns an error for a document that names something that acts, in the clear or
// in a stream of packed objects, and for one that cannot be looked into.
func pdfInert(b []byte) error {
	u := &unpacker{left: maxUnpacked}
	for len(b) > 0 {
		m := pdfStream.FindIndex(b)
		if m == nil {
			return inert(b, false)
		}
		head, body := b[:m[0]+len(">>")], b[m[1]:]
		if err := inert(head, false); err != nil {
			return err
		}
		before, after, ok := bytes.Cut(body, []byte("endstream"))
		if !ok {
			return inert(body, false)
		}
		// A string, or a place in the middle of a stream, may hold objects all the same.
		if err := inert(before, true); err != nil {
			return err
		}
		if err := u.look(head, before); err != nil {
			return err
		}
		b = after
	}
	return nil
}

// unpacker unpacks streams of packed objects, left bytes of them in all.
type unpacker struct {
	left int64
	z    io.ReadCloser
}

// look looks into a stream of packed objects; head is what stands before it.
func (u *unpacker) look(head, body []byte) error {
	dict := pdfPlain(head[max(bytes.LastIndex(head, []byte("obj")), 0):])
	if !bytes.Contains(pdfPlain(head), []byte("ObjStm")) && !pdfFirst.Match(dict) {
		return nil
	}
	if !pdfPacked.Match(dict) || bytes.Count(pdfPlain(head), []byte("ObjStm")) > 1 {
		return ErrSealed
	}
	body = body[pdfAfter(body, 0):]
	if !bytes.Contains(dict, []byte("/Filter")) {
		return inert(body, false)
	}
	var err error
	if u.z == nil {
		u.z, err = zlib.NewReader(bytes.NewReader(body))
	} else if again, ok := u.z.(zlib.Resetter); ok {
		err = again.Reset(bytes.NewReader(body), nil)
	}
	if err != nil {
		return ErrSealed
	}
	out, err := io.ReadAll(io.LimitReader(u.z, u.left))
	if u.left -= int64(len(out)); err != nil || u.left <= 0 {
		return ErrSealed
	}
	return inert(out, false)
}

// pdfPlain writes letters and digits that stand as numbers in names as themselves.
func pdfPlain(b []byte) []byte {
	if bytes.IndexByte(b, '#') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if n, ok := pdfEscaped(b[i:]); ok && (n >= '0' && n <= '9' || n >= 'A' && n <= 'Z' || n >= 'a' && n <= 'z') {
			c, i = n, i+2
		}
		out = append(out, c)
	}
	return out
}

// pdfEscaped reads the # and two digits of base 16 that bytes begin with.
func pdfEscaped(b []byte) (c byte, ok bool) {
	if len(b) < 3 || b[0] != '#' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[1:3]), 16, 8)
	return byte(n), err == nil
}

// inert returns an error where a name stands that acts, or that says that the document is
// encrypted.
func inert(b []byte, stream bool) error {
	for {
		i := bytes.IndexByte(b, '/')
		if i < 0 {
			return nil
		}
		b = b[i+1:]
		name := pdfName(b)
		if pdfActive[name] && (!stream || !pdfShort[name]) {
			return ErrActive
		}
		if name == "Encrypt" {
			return ErrSealed
		}
	}
}

// pdfName reads the name that begins here; any of its letters may stand as a number.
func pdfName(b []byte) string {
	const longest = 16
	var name []byte
	for i := 0; i < len(b) && len(name) < longest; i++ {
		c := b[i]
		if bytes.IndexByte([]byte("\x00\t\n\f\r ()<>[]{}/%"), c) >= 0 {
			break
		}
		if n, ok := pdfEscaped(b[i:]); ok {
			c, i = n, i+2
		}
		name = append(name, c)
	}
	return string(name)
}
