package simtest

import (
	"reflect"

	"google.golang.org/protobuf/proto"
)

// same reports whether two values are equal. What is nil and what is empty are.
func same(a, b any) bool { return sameValue(reflect.ValueOf(a), reflect.ValueOf(b)) }

var messageType = reflect.TypeFor[proto.Message]()

func sameValue(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		if a.Type().Implements(messageType) {
			left, lok := reflect.TypeAssert[proto.Message](a)
			right, rok := reflect.TypeAssert[proto.Message](b)
			return lok && rok && proto.Equal(left, right)
		}
		return sameValue(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
