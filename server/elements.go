package server

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// maxElements bounds how many fields a request holds, those of messages in it too. A field
// of two bytes takes fifty times that once it is decoded, so that a body within its bound
// would take more than the memory set aside for it. A device has use for a third of that.
const maxElements = 1 << 16

// errElements: the request holds more fields than that.
var errElements = errors.New("the request holds more parts than the server takes: send them in several")

// tooMany reports, without decoding it, whether a body holds more than maxElements fields.
// What is not well formed is the decoder's to refuse.
func tooMany(r *http.Request, body []byte) bool {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		// All that is long in a request is base64, and has no commas.
		return bytes.Count(body, []byte(",")) > maxElements
	}
	called := strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(called))
	m, ok := d.(protoreflect.MethodDescriptor)
	return err == nil && ok && elementsLeft(body, m.Input(), maxElements) < 0
}

// elementsLeft is how many of so many fields a message leaves; less than 0 where it holds
// more.
func elementsLeft(b []byte, of protoreflect.MessageDescriptor, left int) int {
	for len(b) > 0 && left >= 0 {
		number, kind, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return left
		}
		size := protowire.ConsumeFieldValue(number, kind, b[tag:])
		if size < 0 {
			return left
		}
		left--
		if field := of.Fields().ByNumber(number); kind == protowire.BytesType && field != nil {
			value, _ := protowire.ConsumeBytes(b[tag:])
			switch {
			case field.Message() != nil:
				left = elementsLeft(value, field.Message(), left)
			case field.IsPacked():
				left -= len(value)
			}
		}
		b = b[tag+size:]
	}
	return left
}
