package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile is the path of a file of settings. Its keys are the names of the command's
// flags; what stands in it counts where neither the command line nor the environment
// says otherwise.
type configFile string

// notInFiles are flags that a file cannot set.
var notInFiles = []string{"config", "check-config", "json", "help"}

// BeforeResolve reads the file.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path, ok := ctx.FlagValue(trace.Flag).(configFile)
	if !ok || path == "" {
		return nil
	}
	settings, err := readConfig(string(path), ctx.Selected().Flags)
	if err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		value, set := settings[flag.Name]
		if !set || !slices.Contains(ctx.Selected().Flags, flag) {
			return nil, nil
		}
		if slices.ContainsFunc(flag.Tag.Envs, func(name string) bool {
			_, there := os.LookupEnv(name)
			return there
		}) {
			return nil, nil
		}
		return value, nil
	}))
	return nil
}

// readConfig reads a file of settings and checks each.
func readConfig(path string, flags []*kong.Flag) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the settings cannot be read: %w", err)
	}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s is no YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s holds more than one document: write all settings into one", path)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want settings, each as \"name: value\" on a line of its own", path, root.Line)
	}
	known := map[string]*kong.Flag{}
	for _, f := range flags {
		if !slices.Contains(notInFiles, f.Name) {
			known[f.Name] = f
		}
	}
	settings := map[string]string{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		flag := known[key.Value]
		if flag == nil {
			return nil, fmt.Errorf("%s: there is no setting %q: did you mean %q?", at, key.Value, nearest(key.Value, known))
		}
		if _, twice := settings[key.Value]; twice {
			return nil, fmt.Errorf("%s: %s is set twice: take one of them out", at, key.Value)
		}
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			return nil, fmt.Errorf("%s: %s wants one value, as in: %s: %s", at, key.Value, key.Value, flag.FormatPlaceHolder())
		}
		into := reflect.New(flag.Target.Type()).Elem()
		if err := flag.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value.Value}), into); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		// It was tried, not set: kong does not look at a file again that is set.
		flag.Set = false
		settings[key.Value] = value.Value
	}
	return settings, nil
}

// nearest is the setting whose name is most like a word.
func nearest(word string, known map[string]*kong.Flag) (best string) {
	least := -1
	for name := range known {
		d := distance(strings.ReplaceAll(strings.ToLower(word), "_", "-"), name)
		if least < 0 || d < least || d == least && name < best {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of letters to add, take out or exchange to make one word of the
// other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// byteSize is a number of bytes, as in 128MiB.
type byteSize int64

var sizeUnits = []struct {
	unit  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *byteSize) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		number, found := strings.CutSuffix(string(text), u.unit)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/u.bytes {
			break
		}
		*b = byteSize(n * u.bytes)
		return nil
	}
	return errors.New("want a size with its unit, as in 128MiB")
}

// String is the size as it is written in a file.
func (b byteSize) String() string {
	for _, u := range sizeUnits {
		if int64(b)%u.bytes == 0 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.unit
		}
	}
	return ""
}
