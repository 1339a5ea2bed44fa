package media

import (
	"bytes"
	"compress/zlib"
	"io"
	"regexp"
	"strconv"
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
	"SubmitForm": true, "ImportData": true, "GoToE": true, "GoToR": true,
}

var (
	pdfInfo   = regexp.MustCompile(`/Info[\x00\t\n\f\r ]+(\d{1,10})[\x00\t\n\f\r ]+(\d{1,5})[\x00\t\n\f\r ]+R`)
	pdfStream = regexp.MustCompile(`stream\r?\n`)
	pdfXMP    = regexp.MustCompile(`(?s)<\?xpacket begin.*?<\?xpacket end[^>]*\?>`)
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
			if pdfActs(clean) {
				return nil, ErrActive
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

// pdfActs reports whether a document names something that acts, outside of what its
// streams hold, or in a stream of packed objects.
func pdfActs(b []byte) bool {
	left := int64(maxUnpacked)
	for from := 0; from < len(b); {
		m := pdfStream.FindIndex(b[from:])
		if m == nil {
			return acts(b[from:])
		}
		head, body := b[from:from+m[0]], b[from+m[1]:]
		if acts(head) {
			return true
		}
		end := bytes.Index(body, []byte("endstream"))
		if end < 0 {
			return acts(body)
		}
		// The dictionary of a stream stands before it.
		dict := head[max(bytes.LastIndex(head, []byte("obj")), 0):]
		if bytes.Contains(dict, []byte("ObjStm")) {
			unpacked, n := unpack(body[:end], left)
			if left -= n; left <= 0 || acts(unpacked) {
				return true
			}
		}
		from += m[1] + end + len("endstream")
	}
	return false
}

func unpack(b []byte, limit int64) ([]byte, int64) {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, 0
	}
	// What is torn is looked at as far as it goes.
	out, _ := io.ReadAll(io.LimitReader(r, limit))
	return out, int64(len(out))
}

// acts reports whether a name that acts stands somewhere.
func acts(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '/')
		if i < 0 {
			return false
		}
		b = b[i+1:]
		if pdfActive[pdfName(b)] {
			return true
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
		if c == '#' && i+2 < len(b) {
			if n, err := strconv.ParseUint(string(b[i+1:i+3]), 16, 8); err == nil {
				c, i = byte(n), i+2
			}
		}
		name = append(name, c)
	}
	return string(name)
}
