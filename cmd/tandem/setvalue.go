package main

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// setValue puts FIELD=VALUE into the first message that has the field and holds a value
// of it, else into the first that has it. An empty value clears.
func setValue(messages []proto.Message, assignment string) error {
	name, value, ok := strings.Cut(assignment, "=")
	if !ok || name == "" {
		return fmt.Errorf("--set wants FIELD=VALUE")
	}
	var into protoreflect.Message
	for _, m := range messages {
		field := m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil {
			continue
		}
		if into == nil || !into.Has(into.Descriptor().Fields().ByName(protoreflect.Name(name))) {
			into = m.ProtoReflect()
		}
	}
	if into == nil {
		return fmt.Errorf("--set: what was saved has no field %s", name)
	}
	field := into.Descriptor().Fields().ByName(protoreflect.Name(name))
	if value == "" {
		into.Clear(field)
		return nil
	}
	v, err := parseValue(field, value)
	if err != nil {
		return fmt.Errorf("--set %s: %w", name, err)
	}
	if field.IsList() {
		list := into.NewField(field).List()
		for part := range strings.SplitSeq(value, ",") {
			list.Append(protoreflect.ValueOfString(strings.TrimSpace(part)))
		}
		v = protoreflect.ValueOfList(list)
	}
	into.Set(field, v)
	return nil
}

func parseValue(field protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BoolKind:
		v, err := strconv.ParseBool(text)
		return protoreflect.ValueOfBool(v), wrong(err, "want true or false")
	case protoreflect.Uint32Kind:
		v, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(v)), wrong(err, "want a number from 0")
	case protoreflect.Int32Kind:
		v, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(v)), wrong(err, "want a number")
	case protoreflect.Int64Kind:
		v, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(v), wrong(err, "want a number")
	}
	return protoreflect.Value{}, fmt.Errorf("this field is not one of text, number or yes and no: correct it in the app")
}

// wrong says what was wanted where err is not nil: what was typed is not repeated.
func wrong(err error, want string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s", want)
}
