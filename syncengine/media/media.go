package media

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"unicode/utf8"
)

// Limits of a file.
const (
	// MaxBytes is the largest size of a file, before and after it was cleaned.
	MaxBytes = 10 << 20
	// MaxPixels is the largest number of pixels of a picture, and MaxSide that of either
	// side: beyond it a small file would take more memory than a device has.
	MaxPixels = 50_000_000
	MaxSide   = 20_000
	// MaxMemory is the most that decoding one picture may take, by what it says of itself.
	MaxMemory = 200 << 20
)

// Codes of the types of files that are taken.
const (
	JPEG = "jpeg"
	PNG  = "png"
	PDF  = "pdf"
	M4A  = "m4a"
	Text = "txt"
)

// Errors of files. None repeats what a file holds.
var (
	// ErrEmpty: there is nothing in it.
	ErrEmpty = errors.New("the file is empty")
	// ErrLarge: it is larger than a file may be.
	ErrLarge = errors.New("the file is larger than 10 MB: take a smaller picture of it, or split it")
	// ErrType: it is none of the types that are taken.
	ErrType = errors.New("this is no JPEG or PNG picture, PDF, M4A sound or plain text: those alone can be attached")
	// ErrDamaged: it begins like one of those types, and is none or not a whole one.
	ErrDamaged = errors.New("the file is damaged or cut short: take or save it again")
	// ErrActive: a document that does something, or holds another file.
	ErrActive = errors.New("the PDF holds a script, a form that runs one, or another file: print it into a new PDF, or take a picture of it")
	// ErrSealed: a document whose parts cannot be looked into.
	ErrSealed = errors.New("the PDF is encrypted, or packed in a way that cannot be looked into: print it into a new PDF, or take a picture of it")
	// ErrPixels: it has too many pixels.
	ErrPixels = errors.New("the picture has too many pixels: take a smaller one")
	// ErrUnclean: bytes hold more than a picture.
	ErrUnclean = errors.New("the file holds more than what is kept of its type")
)

// File is a file as it is kept.
type File struct {
	// Type is its code.
	Type string
	// Bytes are what is stored, hashed and sent.
	Bytes []byte
	// Width and Height are those of a picture as it is shown, 0 for what is none.
	Width, Height int
}

// Clean returns what of a file is kept. raw is not changed.
func Clean(raw []byte) (*File, error) {
	if err := bounds(raw); err != nil {
		return nil, err
	}
	f := &File{Type: Sniff(raw)}
	var turned uint16
	var err error
	switch f.Type {
	case JPEG:
		f.Bytes, turned, err = cleanJPEG(raw)
	case PNG:
		f.Bytes, turned, err = cleanPNG(raw)
	case PDF:
		f.Bytes, err = cleanPDF(raw)
	case M4A:
		f.Bytes, err = cleanM4A(raw)
	case Text:
		f.Bytes = bytes.Clone(raw)
	default:
		return nil, ErrType
	}
	if err == nil {
		err = bounds(f.Bytes)
	}
	if err != nil {
		return nil, err
	}
	if !Picture(f.Type) {
		return f, nil
	}
	img, err := decode(f.Type, f.Bytes)
	if err != nil {
		return nil, err
	}
	f.Width, f.Height = img.Bounds().Dx(), img.Bounds().Dy()
	if turned >= 5 {
		f.Width, f.Height = f.Height, f.Width
	}
	return f, nil
}

// Takes reports whether a code is that of a type that is taken.
func Takes(kind string) bool { return ContentType(kind) != "" }

// Picture reports whether a code is that of a type of pictures.
func Picture(kind string) bool { return kind == JPEG || kind == PNG }

// ContentType returns the type of a code as the web names it, empty for one that is not
// taken.
func ContentType(kind string) string {
	return map[string]string{
		JPEG: "image/jpeg", PNG: "image/png", PDF: "application/pdf", M4A: "audio/mp4", Text: "text/plain; charset=utf-8",
	}[kind]
}

// Checked reports, by a nil error, whether bytes are as Clean leaves a file of a type, and
// of a size that may be decoded. It does not decode a picture.
func Checked(kind string, b []byte) error {
	if err := bounds(b); err != nil {
		return err
	}
	if Sniff(b) != kind {
		return ErrType
	}
	var clean []byte
	var err error
	switch kind {
	case JPEG:
		clean, _, err = cleanJPEG(b)
	case PNG:
		clean, _, err = cleanPNG(b)
	case PDF:
		clean, err = cleanPDF(b)
	case M4A:
		clean, err = cleanM4A(b)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(clean, b) {
		return ErrUnclean
	}
	if !Picture(kind) {
		return nil
	}
	return sized(kind, b)
}

// Sniff returns the type that a file begins like, empty for one that is not taken.
func Sniff(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}):
		return JPEG
	case bytes.HasPrefix(b, []byte(pngSignature)):
		return PNG
	case bytes.HasPrefix(b, []byte(pdfMark)):
		return PDF
	case isM4A(b):
		return M4A
	case len(b) > 0 && plain(b):
		return Text
	}
	return ""
}

// plain reports whether bytes are text that a page can show: UTF-8, without control
// characters but tab and ends of lines.
func plain(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

func bounds(b []byte) error {
	switch {
	case len(b) == 0:
		return ErrEmpty
	case len(b) > MaxBytes:
		return ErrLarge
	}
	return nil
}

// sized reads the size of a picture, and refuses one that is too large.
func sized(kind string, b []byte) error {
	config := jpeg.DecodeConfig
	if kind == PNG {
		config = png.DecodeConfig
	}
	c, err := config(bytes.NewReader(b))
	if err != nil || c.Width <= 0 || c.Height <= 0 {
		return ErrDamaged
	}
	if c.Width > MaxSide || c.Height > MaxSide || c.Width*c.Height > MaxPixels {
		return ErrPixels
	}
	return nil
}

// decode decodes a picture whose size has been looked at first.
func decode(kind string, b []byte) (image.Image, error) {
	if err := sized(kind, b); err != nil {
		return nil, err
	}
	if memory(kind, b) > MaxMemory {
		return nil, ErrPixels
	}
	read := jpeg.Decode
	if kind == PNG {
		read = png.Decode
	}
	img, err := read(bytes.NewReader(b))
	if err != nil {
		return nil, ErrDamaged
	}
	return img, nil
}

// Thumbnail returns a small JPEG of a cleaned picture, neither side longer than side, the
// right way up, on white; nil for what is no picture.
func Thumbnail(f *File, side int) ([]byte, error) {
	if !Picture(f.Type) {
		return nil, nil
	}
	img, err := decode(f.Type, f.Bytes)
	if err != nil {
		return nil, err
	}
	var turned uint16
	if f.Type == JPEG {
		_, turned, err = cleanJPEG(f.Bytes)
	} else {
		_, turned, err = cleanPNG(f.Bytes)
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, turn(shrink(img, side), turned), &jpeg.Options{Quality: 75}); err != nil {
		return nil, ErrDamaged
	}
	return out.Bytes(), nil
}

// shrink returns a picture of which neither side is longer than side: each pixel is the
// mean of some of those that it stands for.
func shrink(img image.Image, side int) *image.RGBA {
	const samples = 4
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	tw, th := w, h
	if long := max(w, h); long > side {
		tw, th = max(w*side/long, 1), max(h*side/long, 1)
	}
	out := image.NewRGBA(image.Rect(0, 0, tw, th))
	for y := range th {
		for x := range tw {
			var r, g, bl, n uint32
			for i := range samples {
				for k := range samples {
					sx := b.Min.X + (x*samples+i)*w/(tw*samples)
					sy := b.Min.Y + (y*samples+k)*h/(th*samples)
					pr, pg, pb, pa := img.At(sx, sy).RGBA()
					// What is transparent shows white.
					r, g, bl, n = r+(pr+0xffff-pa)>>8, g+(pg+0xffff-pa)>>8, bl+(pb+0xffff-pa)>>8, n+1
				}
			}
			out.SetRGBA(x, y, color.RGBA{uint8(r / n), uint8(g / n), uint8(bl / n), 0xff})
		}
	}
	return out
}

// turn puts a picture upright, which an orientation says how to (EXIF 2.32, 4.6.4).
func turn(img *image.RGBA, orientation uint16) *image.RGBA {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	at := map[uint16]func(x, y int) (int, int){
		2: func(x, y int) (int, int) { return w - 1 - x, y },
		3: func(x, y int) (int, int) { return w - 1 - x, h - 1 - y },
		4: func(x, y int) (int, int) { return x, h - 1 - y },
		5: func(x, y int) (int, int) { return y, x },
		6: func(x, y int) (int, int) { return y, h - 1 - x },
		7: func(x, y int) (int, int) { return w - 1 - y, h - 1 - x },
		8: func(x, y int) (int, int) { return w - 1 - y, x },
	}[orientation]
	if at == nil {
		return img
	}
	tw, th := w, h
	if orientation >= 5 {
		tw, th = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, tw, th))
	for y := range th {
		for x := range tw {
			sx, sy := at(x, y)
			out.SetRGBA(x, y, img.RGBAAt(sx, sy))
		}
	}
	return out
}
