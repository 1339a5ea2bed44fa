package tamper_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/tandem-response/tandem/internal/tamper"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The same script does the same to the same message, and different scripts reach
// different messages, those inside bytes included.
func TestMessage(t *testing.T) {
	t.Parallel()
	whole := func() *descriptorpb.UninterpretedOption {
		held, err := proto.Marshal(&descriptorpb.FileDescriptorProto{Name: new("inside"), Dependency: []string{"a", "b"}})
		if err != nil {
			t.Fatal(err)
		}
		return &descriptorpb.UninterpretedOption{
			Name:        []*descriptorpb.UninterpretedOption_NamePart{{NamePart: new("x"), IsExtension: new(true)}},
			StringValue: held, PositiveIntValue: new(uint64(4)),
		}
	}
	inner := tamper.Inner{"google.protobuf.UninterpretedOption.string_value": &descriptorpb.FileDescriptorProto{}}
	rng := rand.New(rand.NewPCG(1, 2))
	seen, inside := map[string]bool{}, 0
	for range 500 {
		script := []byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}
		var got [2][]byte
		for i := range got {
			m := whole()
			tamper.Message(m, inner, script)
			var err error
			if got[i], err = (proto.MarshalOptions{Deterministic: true, AllowPartial: true}).Marshal(m); err != nil {
				t.Fatal(err)
			}
			held := &descriptorpb.FileDescriptorProto{}
			if (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(m.GetStringValue(), held) == nil && held.GetName() == "inside" && len(held.GetDependency()) != 2 {
				inside++
			}
		}
		if !bytes.Equal(got[0], got[1]) {
			t.Fatalf("script %x does not do the same twice", script)
		}
		seen[string(got[0])] = true
	}
	if len(seen) < 60 || inside == 0 {
		t.Errorf("500 scripts made %d messages, %d of them changed inside", len(seen), inside/2)
	}
}
