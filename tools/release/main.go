// Release builds what a release ships: one static binary for each platform, for each a
// list of what is in it (CycloneDX), and the checksums of all.
//
//	go -C tools/release run . -out "$PWD/dist"
//
// It builds a commit, from a clone that it makes: nothing of the working tree gets in. The
// same commit gives the same bytes on every machine, in every directory.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// platforms are those that a release has.
const platforms = "linux/amd64,linux/arm64,windows/amd64,windows/arm64,darwin/amd64,darwin/arm64"

func main() {
	out := flag.String("out", "", "directory for what is built; it must be empty or not there")
	ref := flag.String("ref", "HEAD", "commit to build")
	on := flag.String("platforms", platforms, "platforms to build for, by GOOS/GOARCH")
	flag.Parse()
	if err := release(*out, *ref, strings.Split(*on, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func release(out, ref string, on []string) error {
	if out == "" {
		return errors.New("-out says where to put what is built")
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty: name another directory", out))
	}
	src, err := os.MkdirTemp("", "tandem-release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	if err := clone(src, ref); err != nil {
		return err
	}
	var names []string
	for _, platform := range on {
		built, err := build(src, out, platform)
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		names = append(names, built...)
		fmt.Println(strings.Join(built, "\n"))
	}
	return checksums(out, names)
}

// clone brings a commit of this repository into a directory, with its tags: the version
// is theirs.
func clone(to, ref string) error {
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return fmt.Errorf("this is no checkout: %w", err)
	}
	from := strings.TrimSpace(string(root))
	commit, err := exec.Command("git", "-C", from, "rev-parse", ref+"^{commit}").Output()
	if err != nil {
		return fmt.Errorf("%s is no commit: %w", ref, err)
	}
	for _, args := range [][]string{
		{"clone", "--quiet", "--no-checkout", from, to},
		{"-C", to, "checkout", "--quiet", "--detach", strings.TrimSpace(string(commit))},
	} {
		if said, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, said)
		}
	}
	return nil
}

// fixed are the settings of the build that the environment must not change.
func fixed(goos, goarch string) []string {
	return []string{
		"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + goarch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GODEBUG=",
	}
}

// build builds for one platform, and returns the names of what it made.
func build(src, out, platform string) ([]string, error) {
	goos, goarch, ok := strings.Cut(platform, "/")
	if !ok {
		return nil, errors.New("a platform is GOOS/GOARCH")
	}
	made := filepath.Join(out, "building")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w -buildid=", "-o", made, "./cmd/tandem")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), fixed(goos, goarch)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	info, err := buildinfo.ReadFile(made)
	if err != nil {
		return nil, err
	}
	set := settings(info)
	if set["vcs.modified"] != "false" || info.Main.Version == "" {
		return nil, fmt.Errorf("the binary is not that of a commit: version %q, modified %q", info.Main.Version, set["vcs.modified"])
	}
	name := fmt.Sprintf("tandem_%s_%s_%s", info.Main.Version, goos, goarch)
	binary := name
	if goos == "windows" {
		binary += ".exe"
	}
	if err := os.Rename(made, filepath.Join(out, binary)); err != nil {
		return nil, err
	}
	sum, err := hash(filepath.Join(out, binary))
	if err != nil {
		return nil, err
	}
	list, err := json.MarshalIndent(bill(info, set, binary, sum), "", "  ")
	if err != nil {
		return nil, err
	}
	return []string{binary, name + ".cdx.json"}, os.WriteFile(filepath.Join(out, name+".cdx.json"), append(list, '\n'), 0o644)
}

func settings(info *debug.BuildInfo) map[string]string {
	out := map[string]string{}
	for _, s := range info.Settings {
		out[s.Key] = s.Value
	}
	return out
}

// component is one of CycloneDX's.
type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Hashes     []digest   `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type digest struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// bill lists what the binary itself says is in it: the program, the modules with the
// hashes by which go.sum knows them, and the standard library.
func bill(info *debug.BuildInfo, set map[string]string, binary, sum string) any {
	golang := func(path, version string) string { return "pkg:golang/" + path + "@" + version }
	program := component{
		Type: "application", Name: binary, Version: info.Main.Version, PURL: golang(info.Main.Path, info.Main.Version),
		Hashes: []digest{{"SHA-256", sum}},
	}
	for _, key := range []string{"GOOS", "GOARCH", "CGO_ENABLED", "vcs.revision"} {
		program.Properties = append(program.Properties, property{"go:" + key, set[key]})
	}
	version := strings.TrimPrefix(info.GoVersion, "go")
	parts := []component{{Type: "library", Name: "stdlib", Version: version, PURL: golang("stdlib", version)}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, component{
			Type: "library", Name: m.Path, Version: m.Version, PURL: golang(m.Path, m.Version),
			Properties: []property{{"go:sum", m.Sum}},
		})
	}
	slices.SortFunc(parts, func(a, b component) int { return strings.Compare(a.Name, b.Name) })
	return map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata":   map[string]any{"timestamp": set["vcs.time"], "component": program},
		"components": parts,
	}
}

func hash(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// checksums writes the sums of all files, in the form that sha256sum checks.
func checksums(out string, names []string) error {
	slices.Sort(names)
	var lines strings.Builder
	for _, name := range names {
		sum, err := hash(filepath.Join(out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(lines.String()), 0o644)
}
