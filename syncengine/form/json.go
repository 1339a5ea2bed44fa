package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
)

// maxNesting is how deep a JSON file may nest.
const maxNesting = 64

// node is a JSON value with its place in the file.
type node struct {
	path string
	// One of these: an object has keys, an array list, the rest value, which is a
	// string, json.Number, bool or nil.
	keys  []string
	props map[string]*node
	list  []*node
	array bool
	value any
	// used are the keys that a reader has asked for.
	used map[string]bool
}

// parse reads one JSON value. A key that stands twice is a fault: which one counts would
// be chance.
func parse(data []byte, root string) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	n, err := parseValue(dec, root, 0)
	if err != nil {
		if f, ok := errors.AsType[FaultError](err); ok {
			return nil, f
		}
		line := 1 + bytes.Count(data[:min(int(dec.InputOffset()), len(data))], []byte("\n"))
		return nil, FaultError{{Path: "line " + strconv.Itoa(line), What: "this is no JSON: " + err.Error(), ES: "esto no es JSON"}}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, FaultError{Fault{Path: root}.says("something follows the end of the resource")}
	}
	return n, nil
}

func parseValue(dec *json.Decoder, path string, depth int) (*node, error) {
	if depth > maxNesting {
		return nil, FaultError{Fault{Path: path}.says("the file nests deeper than %d levels", maxNesting)}
	}
	tok, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := &node{path: path}
	switch tok {
	case json.Delim('{'):
		n.props, n.used = map[string]*node{}, map[string]bool{}
		for dec.More() {
			tok, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key, _ := tok.(string)
			if n.props[key] != nil {
				return nil, FaultError{Fault{Path: path + "." + key}.says("the element stands twice")}
			}
			one, err := parseValue(dec, path+"."+key, depth+1)
			if err != nil {
				return nil, err
			}
			n.props[key] = one
			n.keys = append(n.keys, key)
		}
	case json.Delim('['):
		n.array = true
		for dec.More() {
			one, err := parseValue(dec, path+"["+strconv.Itoa(len(n.list))+"]", depth+1)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, one)
		}
	default:
		n.value = tok
		return n, nil
	}
	_, err = dec.Token() // the end of it
	return n, err
}

// left returns the keys that nobody has asked for.
func (n *node) left() []string {
	return slices.DeleteFunc(slices.Clone(n.keys), func(k string) bool { return n.used[k] })
}

// object is a JSON object whose keys keep their order.
type object []member

type member struct {
	key   string
	value any
}

// put adds a member unless the value is empty.
func (o *object) put(key string, value any) {
	switch v := value.(type) {
	case nil:
		return
	case string:
		if v == "" {
			return
		}
	case object:
		if len(v) == 0 {
			return
		}
	case []any:
		if len(v) == 0 {
			return
		}
	}
	*o = append(*o, member{key, value})
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := encode(m.key)
		if err != nil {
			return nil, err
		}
		value, err := encode(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode is json.Marshal that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
