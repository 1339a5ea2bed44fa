package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxMapping is the largest mapping file, in bytes.
const maxMapping = 1 << 20

// document returns the one YAML document of r.
func document(r io.Reader) (*yaml.Node, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxMapping+1))
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	if len(text) > maxMapping {
		return nil, fmt.Errorf("larger than %d bytes: is this the mapping, and not the data?", maxMapping)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("empty: write at least name, version, kind, zone, key and fields")
	case err != nil:
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one document: keep one mapping a file")
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("empty: write at least name, version, kind, zone, key and fields")
	}
	if err := plain(doc.Content[0]); err != nil {
		return nil, err
	}
	return doc.Content[0], nil
}

// plain refuses anchors and aliases, which let a short file stand for a huge one.
func plain(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fault(n, "anchors and aliases are not taken: write the value out")
	}
	for _, c := range n.Content {
		if err := plain(c); err != nil {
			return err
		}
	}
	return nil
}

// fault returns an error at the line of a node.
func fault(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

// entry is a key and its value.
type entry struct {
	key   string
	at    *yaml.Node // the key
	value *yaml.Node
}

// object is a YAML mapping with each key once, in order.
type object struct {
	node    *yaml.Node
	entries []entry
}

// readObject reads a YAML mapping. Where known is not empty it refuses other keys.
func readObject(n *yaml.Node, what string, known ...string) (object, error) {
	if n.Kind != yaml.MappingNode {
		return object{}, fault(n, "%s must be keys with values", what)
	}
	o := object{node: n}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			return object{}, fault(k, "a key of %s must be text", what)
		}
		if o.get(k.Value) != nil {
			return object{}, fault(k, "%q stands twice in %s", k.Value, what)
		}
		if len(known) > 0 && !slices.Contains(known, k.Value) {
			return object{}, fault(k, "%s takes no key %q: the keys are %s", what, k.Value, strings.Join(known, ", "))
		}
		o.entries = append(o.entries, entry{key: k.Value, at: k, value: n.Content[i+1]})
	}
	return o, nil
}

// get returns the value of a key, nil where it is not there.
func (o object) get(key string) *yaml.Node {
	for _, e := range o.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// must returns the value of a key that has to be there.
func (o object) must(key, how string) (*yaml.Node, error) {
	n := o.get(key)
	if n == nil {
		return nil, fault(o.node, "%s is missing: %s", key, how)
	}
	return n, nil
}

// isNull reports whether a node is ~ or nothing.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// readText reads a scalar that is not empty, as it was written.
func readText(n *yaml.Node, what string) (string, error) {
	if n.Kind != yaml.ScalarNode || isNull(n) || n.Value == "" {
		return "", fault(n, "%s must be text", what)
	}
	return n.Value, nil
}

// readTexts reads a scalar or a list of scalars, none twice. Empty text is taken
// in a list.
func readTexts(n *yaml.Node, what string) ([]string, error) {
	if n.Kind != yaml.SequenceNode {
		s, err := readText(n, what)
		return []string{s}, err
	}
	texts := make([]string, 0, len(n.Content))
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode || isNull(c) {
			return nil, fault(c, "%s must be a list of texts", what)
		}
		if slices.Contains(texts, c.Value) {
			return nil, fault(c, "%q stands twice in %s", c.Value, what)
		}
		texts = append(texts, c.Value)
	}
	return texts, nil
}

// choice reads one of a few words; the first is what an absent node means.
func choice(n *yaml.Node, what string, words ...string) (string, error) {
	if n == nil {
		return words[0], nil
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
		return "", fault(n, "%s must be one of %s", what, strings.Join(words, ", "))
	}
	return n.Value, nil
}
