package media_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine/media"
)

// canary stands wherever a file can hold what is not the picture.
const canary = "52.5200N13.4050E"

// picture is half red, half blue; red is to the left.
func picture(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{0xd0, 0x10, 0x10, 0xff}
			if x >= w/2 {
				c = color.NRGBA{0x10, 0x10, 0xd0, 0xff}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func segment(mark byte, body string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, mark}, uint16(2+len(body))), body...)
}

// exif is an EXIF block with an orientation in the byte order of most telephones, and
// more.
func exif(turned byte) string {
	return "II\x2a\x00\x08\x00\x00\x00\x02\x00" +
		"\x0f\x01\x02\x00\x11\x00\x00\x00\x26\x00\x00\x00" +
		"\x12\x01\x03\x00\x01\x00\x00\x00" + string([]byte{turned, 0, 0, 0}) + "\x00\x00\x00\x00" + canary + "\x00"
}

// fromCamera is a JPEG as cameras write it.
func fromCamera(t testing.TB, turned byte) []byte {
	t.Helper()
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, picture(64, 32), nil); err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(plain.Bytes()[:2])
	for _, s := range [][]byte{
		segment(0xe0, "JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x01\x01abc"), segment(0xe0, "JFXX\x00"+canary),
		segment(0xe1, "Exif\x00\x00"+exif(turned)), segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00<x>"+canary+"</x>"),
		segment(0xe2, "ICC_PROFILE\x00\x01\x01"+canary), segment(0xe2, "MPF\x00"+canary), segment(0xed, "Photoshop 3.0\x008BIM"+canary),
		segment(0xfe, canary),
	} {
		raw = append(raw, s...)
	}
	raw = append(raw, plain.Bytes()[2:]...)
	// A second picture, or a film, behind the first.
	return append(append(raw, plain.Bytes()...), canary...)
}

func chunk(name, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, name...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func fromScreen(t testing.TB, turned byte) []byte {
	t.Helper()
	var plain bytes.Buffer
	if err := png.Encode(&plain, picture(64, 32)); err != nil {
		t.Fatal(err)
	}
	const head = 8 + 25
	raw := bytes.Clone(plain.Bytes()[:head])
	for _, c := range [][]byte{
		chunk("tEXt", "Location\x00"+canary), chunk("iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00"+canary), chunk("eXIf", exif(turned)),
		chunk("tIME", "\x07\xe8\x01\x01\x01\x01\x01"), chunk("prVt", canary), chunk("gAMA", "\x00\x00\xb1\x8f"),
	} {
		raw = append(raw, c...)
	}
	return append(append(raw, plain.Bytes()[head:]...), canary...)
}

// TestCleanKeepsThePictureAlone: of what cameras and programs put into a file the picture
// is left, to the pixel, and which way up it is.
func TestCleanKeepsThePictureAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		raw    []byte
		kind   string
		decode func([]byte) (image.Image, error)
	}{
		"jpeg": {fromCamera(t, 6), media.JPEG, func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }},
		"png":  {fromScreen(t, 6), media.PNG, func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := media.Clean(tc.raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{canary, "JFXX", "Photoshop", "xap", "ICC_PROFILE", "MPF", "tEXt", "iTXt", "tIME", "prVt"} {
				if bytes.Contains(f.Bytes, []byte(word)) {
					t.Errorf("%q is left", word)
				}
			}
			if f.Type != tc.kind || f.Width != 32 || f.Height != 64 {
				t.Errorf("%s of %d×%d", f.Type, f.Width, f.Height)
			}
			before, err := tc.decode(tc.raw)
			if err != nil {
				t.Fatal(err)
			}
			after, err := tc.decode(f.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []image.Point{{0, 0}, {40, 10}, {63, 31}} {
				if before.At(at.X, at.Y) != after.At(at.X, at.Y) {
					t.Errorf("the pixel at %v differs", at)
				}
			}
			again, err := media.Clean(f.Bytes)
			if err != nil || !bytes.Equal(again.Bytes, f.Bytes) {
				t.Errorf("cleaned again it differs: %v", err)
			}
			if err := media.Checked(tc.kind, f.Bytes); err != nil {
				t.Errorf("clean bytes: %v", err)
			}
			if err := media.Checked(tc.kind, tc.raw); !errors.Is(err, media.ErrUnclean) {
				t.Errorf("as it came: %v", err)
			}
			if err := media.Checked(tc.kind, append(bytes.Clone(f.Bytes), canary...)); !errors.Is(err, media.ErrUnclean) {
				t.Errorf("with something behind it: %v", err)
			}
		})
	}
}

// TestThumbnailIsUpright: left of the picture is above, where the camera was held upright.
func TestThumbnailIsUpright(t *testing.T) {
	red := func(c color.Color) bool { r, _, b, _ := c.RGBA(); return r > 2*b }
	for turned, at := range map[byte]image.Point{1: {2, 8}, 2: {29, 8}, 3: {29, 8}, 4: {2, 8}, 5: {8, 2}, 6: {8, 2}, 7: {8, 29}, 8: {8, 29}} {
		for name, raw := range map[string][]byte{"jpeg": fromCamera(t, turned), "png": fromScreen(t, turned)} {
			f, err := media.Clean(raw)
			if err != nil {
				t.Fatal(err)
			}
			small, err := media.Thumbnail(f, 32)
			if err != nil {
				t.Fatal(err)
			}
			img, err := jpeg.Decode(bytes.NewReader(small))
			if err != nil {
				t.Fatal(err)
			}
			b := img.Bounds()
			if max(b.Dx(), b.Dy()) != 32 || (b.Dx() < b.Dy()) != (turned >= 5) || !red(img.At(at.X, at.Y)) || red(img.At(b.Dx()-1-at.X, b.Dy()-1-at.Y)) {
				t.Errorf("%s, orientation %d: %v, %v at %v", name, turned, b, img.At(at.X, at.Y), at)
			}
		}
	}
}

// TestCleanRefuses what is not what it claims to be, with words that say what to do.
func TestCleanRefuses(t *testing.T) {
	photo, screen := fromCamera(t, 1), fromScreen(t, 1)
	huge := bytes.Clone(screen)
	binary.BigEndian.PutUint32(huge[16:], 50_000)
	binary.BigEndian.PutUint32(huge[20:], 50_000)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	torn := bytes.Clone(screen)
	torn[len(torn)-60]++
	for name, tc := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":              {nil, media.ErrEmpty},
		"too much":             {make([]byte, media.MaxBytes+1), media.ErrLarge},
		"a program":            {[]byte("\x7fELF\x02\x01\x01\x00"), media.ErrType},
		"a cut document":       {[]byte("%PDF-1.7\n1 0 obj <<>>"), media.ErrDamaged},
		"a page with a script": {document("<</S /JavaScript /JS (app.alert)>>"), media.ErrActive},
		"a script, disguised":  {document("<</S /Java#53cript>>"), media.ErrActive},
		"a packed script":      {packed("<</S /JavaScript>>"), media.ErrActive},
		"a file in a document": {document("<</Type /EmbeddedFile>>"), media.ErrActive},
		"an open dictionary":   {[]byte("%PDF-1.7\n1 0 obj << /Author (x) trailer /Info 1 0 R\n%%EOF"), media.ErrDamaged},
		"a film":               {sound("vide"), media.ErrType},
		"a sound without any":  {sound("soun")[:40], media.ErrDamaged},
		"a deep PNG":           {patched(t, 6000, 6000, 16), media.ErrPixels},
		"a great scan":         {scanned(t, 6000, 6000), media.ErrPixels},
		"a GIF":                {[]byte("GIF89a\x01\x00\x01\x00\x00"), media.ErrType},
		"only a beginning":     {[]byte("\xff\xd8\xff"), media.ErrDamaged},
		"cut short":            {photo[:400], media.ErrDamaged},
		"a cut PNG":            {screen[:len(screen)/2], media.ErrDamaged},
		"a damaged PNG":        {torn, media.ErrDamaged},
		"50,000 × 50,000":      {huge, media.ErrPixels},
		"no picture inside":    {append(append([]byte("\xff\xd8"), segment(0xfe, "words")...), 0xff, 0xd9), media.ErrDamaged},
	} {
		if f, err := media.Clean(tc.raw); !errors.Is(err, tc.want) || f != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f, err := media.Clean([]byte("Gate code on file\n¿Dónde?\n")); err != nil || f.Type != media.Text {
		t.Errorf("a text: %v", err)
	}
	f, err := media.Clean(screen)
	if err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Clone(f.Bytes)
	copy(bomb[16:], huge[16:24])
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	if err := media.Checked(media.PNG, bomb); !errors.Is(err, media.ErrPixels) {
		t.Errorf("clean, and 50,000 × 50,000: %v", err)
	}
	// What its decoder has room for is decoded: these are no whole pictures.
	for name, raw := range map[string][]byte{"a PNG": patched(t, 6000, 6000, 8), "a scan": scanned(t, 3000, 3000)} {
		if _, err := media.Clean(raw); !errors.Is(err, media.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if media.Checked(media.JPEG, screen) == nil {
		t.Error("a PNG passes for a JPEG")
	}
}

// patched is a PNG that says that it is of another size and depth.
func patched(t testing.TB, w, h uint32, depth byte) []byte {
	b := bytes.Clone(fromScreen(t, 1))
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	b[24] = depth
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

// scanned is a JPEG that says that it comes in several scans, and of what size.
func scanned(t testing.TB, w, h uint16) []byte {
	b := bytes.Clone(fromCamera(t, 1))
	at := bytes.Index(b, []byte{0xff, 0xc0})
	b[at+1] = 0xc2
	binary.BigEndian.PutUint16(b[at+5:], h)
	binary.BigEndian.PutUint16(b[at+7:], w)
	return b
}

// document is a PDF with an object in it, and with words on who wrote it.
func document(object string) []byte {
	return []byte("%PDF-1.7\n1 0 obj\n" + object + "\nendobj\n2 0 obj\n<< /Author (" + canary + " \\) >>) /Sub << /Title <2828> >> /ModDate (D:2024) >>\nendobj\n" +
		"3 0 obj <</Type /Metadata /Length 9>>\nstream\n<?xpacket begin='' id='W5M0'?><x>" + canary + "</x><?xpacket end='w'?>\nendstream endobj\n" +
		"4 0 obj <</Length 4>>\nstream\n/JS \nendstream endobj\ntrailer << /Root 1 0 R /Info 2 0 R >>\nstartxref\n9\n%%EOF\n" + "\x00" + canary)
}

// packed is a PDF whose object stands in a stream.
func packed(object string) []byte {
	return document("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>\nstream\n" + string(deflated("1 0 "+object)) + "\nendstream")
}

// TestHostileDocuments: a document is read in time that grows as its size, however it is
// made: were each of these looked at anew for each of its parts, it would take hours.
func TestHostileDocuments(t *testing.T) {
	const head, tail = "%PDF-1.7\n/Info 1 0 R", "\n%%EOF\n"
	within := func(begin, again, end string) []byte {
		n := (media.MaxBytes - len(head+begin+end+tail)) / len(again)
		return []byte(head + begin + strings.Repeat(again, n) + end + tail)
	}
	var ids strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&ids, "/Info %d 0 R\n", i+1)
	}
	half := (media.MaxBytes - len(head+tail)) / len("\n1 0 obj<<>>")
	for name, tc := range map[string]struct {
		raw  []byte
		want error
	}{
		"one in the other":     {[]byte(head + strings.Repeat("\n1 0 obj<<", half) + strings.Repeat(">>", half) + tail), media.ErrDamaged},
		"in a string":          {within("\n1 0 obj<<(", "\n1 0 obj<<", ")>>"), nil},
		"one after the other":  {within("", "\n1 0 obj<<>>", ""), nil},
		"without an end":       {within("", "\n1 0 obj<<", ""), media.ErrDamaged},
		"strings in strings":   {within("\n1 0 obj<<", "(", ""), media.ErrDamaged},
		"many that wrote it":   {[]byte(head + ids.String() + tail), media.ErrDamaged},
		"white space":          {within("\n1", " ", "0 obj<</Author (x)>>"), nil},
		"streams":              {within("", "1 0 obj<<>>stream\n", "endstream"), nil},
		"streams that end":     {within("", ">>stream\nendstream ", ""), nil},
		"packets of metadata":  {within("", "<?xpacket begin", ""), nil},
		"ends of metadata":     {within("<?xpacket begin", "<?xpacket end", ">"), nil},
		"packed objects":       {within("", "1 0 obj<</Type/ObjStm/Filter/FlateDecode>>stream\n"+string(deflated("x"))+"endstream", ""), nil},
		"names":                {within("", "/#4a", ""), nil},
		"what acts not at all": {within("", "/", ""), nil},
	} {
		f, err := media.Clean(tc.raw)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if err := media.Checked(media.PDF, f.Bytes); err != nil {
			t.Errorf("%s, clean: %v", name, err)
		}
	}
}

// TestDocumentsAreLookedInto: a name that acts is found however it is written and packed,
// and what cannot be looked into is not taken; the rest is.
func TestDocumentsAreLookedInto(t *testing.T) {
	const scripted = "1 0 <</S /JavaScript>>"
	stream := func(dict, body string) []byte { return document(dict + "\nstream\n" + body + "\nendstream") }
	flate := string(deflated(scripted))
	harmless := string(deflated("1 0 <</Type /Catalog>>"))
	for name, tc := range map[string]struct {
		raw  []byte
		want error
	}{
		"a packed script":           {stream("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>", flate), media.ErrActive},
		"packed, by another name":   {stream("<</Type /#4fbjStm /N 1 /First 4 /Filter /Fl#61teDecode>>", flate), media.ErrActive},
		"packed, without a name":    {stream("<</N 1 /First 4 /Filter /FlateDecode>>", flate), media.ErrActive},
		"packed, in a list":         {stream("<</Type/ObjStm/N 1/First 4/Filter[/FlateDecode]>>", flate), media.ErrActive},
		"packed, of odd line ends":  {document("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>stream\r" + flate + "\nendstream"), media.ErrActive},
		"not packed":                {stream("<</Type /ObjStm /N 1 /First 4>>", "1 0 <</S /Launch>>"), media.ErrActive},
		"in a stream":               {stream("<</Length 40>>", "9 0 obj <</S /JavaScript>> endobj"), media.ErrActive},
		"in a string":               {document("<</X (>>stream\n) /S /Java#53cript>>"), media.ErrActive},
		"packed twice":              {stream("<</Type /ObjStm /N 1 /First 4 /Filter [/ASCIIHexDecode /FlateDecode]>>", flate), media.ErrSealed},
		"packed otherwise":          {stream("<</Type /ObjStm /N 1 /First 4 /Filter /LZWDecode>>", flate), media.ErrSealed},
		"predicted":                 {stream("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /DecodeParms <</Predictor 12>>>>", flate), media.ErrSealed},
		"in another file":           {stream("<</Type /ObjStm /N 1 /First 4 /F (x) /Filter /FlateDecode>>", flate), media.ErrSealed},
		"by a comment":              {stream("<</Type /ObjStm /N 1 /First 4 /Filter %x\n/LZWDecode>>", flate), media.ErrSealed},
		"by an object in a string":  {stream("<</Type /ObjStm /Filter /LZWDecode /X (1 0 obj<</N 1>>)>>", flate), media.ErrSealed},
		"torn":                      {stream("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>", harmless[:len(harmless)-6]), media.ErrSealed},
		"no packed stream":          {stream("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>", "words"), media.ErrSealed},
		"inflated":                  {stream("<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode>>", string(deflated(strings.Repeat(" ", 65<<20)))), media.ErrSealed},
		"encrypted":                 {document("<</Encrypt 5 0 R>>"), media.ErrSealed},
		"encrypted, disguised":      {document("<</Encr#79pt 5 0 R>>"), media.ErrSealed},
		"as it is packed by most":   {stream("<</Type /ObjStm /N 1 /First 4 /Length 28 /Filter /FlateDecode>>", harmless), nil},
		"in a list of one":          {stream("<< /Length 7 0 R /Extends 3 0 R /N 1 /First 4 /Type /ObjStm /Filter [ /FlateDecode ] >>", harmless), nil},
		"a page to begin with":      {document("<</Type /Catalog /OpenAction [3 0 R /FitH null]>>"), nil},
		"an outline":                {document("<</Type /Outlines /First 5 0 R /Last 6 0 R>>"), nil},
		"a reference to the web":    {document("<</S /URI /URI (https://example.org/)>>"), nil},
		"a picture of another sort": {stream("<</Filter [/ASCII85Decode /LZWDecode] /DecodeParms [null <</Predictor 2>>]>>", "/JS /AA \x00\xff"), nil},
	} {
		f, err := media.Clean(tc.raw)
		if !errors.Is(err, tc.want) || (f == nil) != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, word := range []string{"JavaScript", "JS", "Launch", "EmbeddedFile", "EmbeddedFiles", "RichMedia", "XFA", "SubmitForm", "ImportData", "GoToE", "GoToR", "AA"} {
		for at := range word {
			disguised := fmt.Sprintf("<</%s#%02x%s 5 0 R>>", word[:at], word[at], word[at+1:])
			if _, err := media.Clean(document("<</OpenAction " + disguised + ">>")); !errors.Is(err, media.ErrActive) {
				t.Errorf("%s: %v", disguised, err)
			}
		}
	}
}

// TestPackedDocument: a document as programs write it since PDF 1.5, of which the catalog,
// its page and the table of its parts are packed, is taken as it is.
func TestPackedDocument(t *testing.T) {
	raw := []byte("%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
	var places [6]int
	object := func(n int, dict string, body []byte) {
		places[n] = len(raw)
		raw = fmt.Appendf(raw, "%d 0 obj\n<<%s/Filter/FlateDecode/Length %d>>stream\r\n%s\r\nendstream\nendobj\n", n, dict, len(body), body)
	}
	catalog, pages, page := "<</Type/Catalog/Pages 2 0 R/OpenAction[3 0 R/Fit]>> ", "<</Type/Pages/Count 1/Kids[3 0 R]>> ", "<</Type/Page/Parent 2 0 R/Contents 4 0 R/MediaBox[0 0 99 99]>>"
	head := fmt.Sprintf("1 0 2 %d 3 %d ", len(catalog), len(catalog+pages))
	object(4, "", deflated("0 0 m 99 99 l S % /JavaScript /JS"))
	object(5, fmt.Sprintf("/Type/ObjStm/N 3/First %d", len(head)), deflated(head+catalog+pages+page))
	at := len(raw)
	var table []byte
	for _, row := range [][3]int{{0, 0, 255}, {2, 5, 0}, {2, 5, 1}, {2, 5, 2}, {1, places[4], 0}, {1, places[5], 0}, {1, at, 0}} {
		// Each row as what it differs by from the one above (PNG's predictor "up").
		table = append(table, byte(row[0]), byte(row[1]>>8), byte(row[1]), byte(row[2]))
	}
	var rows []byte
	for i := 0; i < len(table); i += 4 {
		rows = append(rows, 2)
		for k := range 4 {
			above := byte(0)
			if i > 0 {
				above = table[i-4+k]
			}
			rows = append(rows, table[i+k]-above)
		}
	}
	packed := deflated(string(rows))
	raw = fmt.Appendf(raw, "6 0 obj\n<</Type/XRef/Size 7/W[1 2 1]/Root 1 0 R/DecodeParms<</Columns 4/Predictor 12>>/Filter/FlateDecode/Length %d>>stream\r\n%s\r\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", len(packed), packed, at)
	f, err := media.Clean(raw)
	if err != nil || !bytes.Equal(f.Bytes, raw) {
		t.Fatalf("a document without anything to clean: %v", err)
	}
	if err := media.Checked(media.PDF, raw); err != nil {
		t.Error(err)
	}
}

func deflated(s string) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.Bytes()
}

func box(name, body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + name + body
}

// sound is a recording with one track, as telephones write it.
func sound(track string) []byte {
	times := "\x00\x00\x00\x00\xe2\x01\x02\x03\xe2\x01\x02\x03"
	return []byte(box("ftyp", "M4A \x00\x00\x00\x00M4A mp42isom") + box("uuid", canary) +
		box("moov", box("mvhd", times+"rest")+box("udta", box("\xa9xyz", canary))+
			box("trak", box("tkhd", times)+box("meta", canary)+box("mdia", box("mdhd", times)+
				box("hdlr", "\x00\x00\x00\x00\x00\x00\x00\x00"+track+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+canary+"\x00")+
				box("minf", box("smhd", "12345678")+box("stbl", box("stsd", "how it is coded")+box("stco", "where")))))) +
		box("mdat", "what was said"))
}

// TestCleanDocumentsAndSounds: who wrote it, where and when goes; the rest stays in its
// place, to the byte.
func TestCleanDocumentsAndSounds(t *testing.T) {
	for kind, tc := range map[string]struct {
		raw        []byte
		kept, gone []string
		same       bool
	}{
		media.PDF: {document("<</Type /Catalog>>"), []string{"/Catalog", "/Root 1 0 R", "stream\n/JS "}, []string{canary, "/Author", "D:2024", "/Title"}, false},
		media.M4A: {sound("soun"), []string{"how it is coded", "where", "what was said", "rest", "12345678"}, []string{canary, "\xe2\x01\x02\x03", "uuid", "udta", "meta"}, true},
	} {
		f, err := media.Clean(tc.raw)
		if err != nil || f.Type != kind || f.Width != 0 {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, word := range tc.kept {
			if bytes.Index(f.Bytes, []byte(word)) != bytes.Index(tc.raw, []byte(word)) || !bytes.Contains(f.Bytes, []byte(word)) {
				t.Errorf("%s: %q is not where it was", kind, word)
			}
		}
		for _, word := range tc.gone {
			if bytes.Contains(f.Bytes, []byte(word)) || !bytes.Contains(tc.raw, []byte(word)) {
				t.Errorf("%s: %q is left", kind, word)
			}
		}
		if tc.same && len(f.Bytes) != len(tc.raw) {
			t.Errorf("%s: %d bytes of %d", kind, len(f.Bytes), len(tc.raw))
		}
		if err := media.Checked(kind, f.Bytes); err != nil {
			t.Errorf("%s, clean: %v", kind, err)
		}
		if err := media.Checked(kind, tc.raw); !errors.Is(err, media.ErrUnclean) {
			t.Errorf("%s, as it came: %v", kind, err)
		}
		if small, err := media.Thumbnail(f, 32); small != nil || err != nil {
			t.Errorf("%s has a small picture: %v", kind, err)
		}
	}
}

// FuzzClean: whatever the file, what comes out is clean, is the same when cleaned again,
// and holds nothing that stood where a picture cannot have it.
func FuzzClean(f *testing.F) {
	for _, turned := range []byte{0, 1, 6, 9} {
		f.Add(fromCamera(f, turned))
		f.Add(fromScreen(f, turned))
	}
	f.Add(document("<</Type /Catalog>>"))
	f.Add(packed("<</Type /Catalog>>"))
	f.Add(sound("soun"))
	f.Add([]byte("words"))
	f.Add([]byte("\xff\xd8\xff\xff\xff\xe1\x00\x02\xff\xd9"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer need.Brief(t)()
		before := bytes.Clone(raw)
		got, err := media.Clean(raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("the file was changed")
		}
		if err != nil {
			if got != nil {
				t.Fatal("a refused file has bytes")
			}
			_ = media.Checked(media.Sniff(raw), raw)
			return
		}
		if err := media.Checked(got.Type, got.Bytes); err != nil {
			t.Fatalf("what comes out is not clean: %v", err)
		}
		again, err := media.Clean(got.Bytes)
		if err != nil || !bytes.Equal(again.Bytes, got.Bytes) || again.Width != got.Width || again.Height != got.Height {
			t.Fatalf("cleaned again it differs: %v", err)
		}
		// What is added is no more than a word on which way up it is.
		if len(got.Bytes) > len(raw)+64 {
			t.Fatalf("%d bytes became %d", len(raw), len(got.Bytes))
		}
		if _, err := media.Thumbnail(got, 16); err != nil {
			t.Fatal(err)
		}
	})
}
