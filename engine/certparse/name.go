package certparse

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/countersign-dev/countersign/engine/ber"
)

// attribute is a type and a value of a name.
type attribute struct {
	oid   string
	value ber.Element
}

// readName reads a Name (RFC 5280, section 4.1.2.4): relative names, each of which
// has one attribute or more.
func readName(e ber.Element) ([][]attribute, error) {
	sets, err := e.Sequence(0)
	if err != nil {
		return nil, err
	}
	var name [][]attribute
	for _, set := range sets {
		members, err := set.Children()
		if err != nil {
			return nil, err
		}
		var relative []attribute
		for _, member := range members {
			parts, err := member.Sequence(2)
			if err != nil {
				return nil, err
			}
			relative = append(relative, attribute{parts[0].OID(), parts[1]})
		}
		name = append(name, relative)
	}
	return name, nil
}

// attributeNames are the names of RFC 4514, section 3, those that crypto/x509/pkix
// writes, and for the others those of OpenSSL.
var attributeNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "SERIALNUMBER",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "STREET",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "title",
	"2.5.4.13":                   "description",
	"2.5.4.15":                   "businessCategory",
	"2.5.4.16":                   "postalAddress",
	"2.5.4.17":                   "POSTALCODE",
	"2.5.4.18":                   "postOfficeBox",
	"2.5.4.20":                   "telephoneNumber",
	"2.5.4.41":                   "name",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.44":                   "generationQualifier",
	"2.5.4.45":                   "x500UniqueIdentifier",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"2.5.4.97":                   "organizationIdentifier",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.3":  "mail",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"1.2.840.113549.1.9.2":       "unstructuredName",
	"1.2.840.113549.1.9.8":       "unstructuredAddress",
	"1.3.6.1.4.1.311.20.2.3":     "UPN",
	"1.3.6.1.4.1.311.60.2.1.1":   "jurisdictionL",
	"1.3.6.1.4.1.311.60.2.1.2":   "jurisdictionST",
	"1.3.6.1.4.1.311.60.2.1.3":   "jurisdictionC",
}

// Name is a DER-encoded name as text: all attributes, in the order of RFC 4514, which
// is the reverse of the encoding's. Unlike there, a value is text also if its type has
// no name. Characters that cannot be printed are escaped. It is "" for an empty name,
// and for bytes that are no name.
func Name(raw []byte) string {
	e, err := ber.Only(raw)
	if err != nil {
		return ""
	}
	return nameText(e)
}

func nameText(e ber.Element) string {
	name, err := readName(e)
	if err != nil {
		return ""
	}
	var relatives []string
	for _, relative := range slices.Backward(name) {
		var attributes []string
		for _, a := range relative {
			attributes = append(attributes, nameOr(attributeNames, a.oid)+"="+valueText(a.value))
		}
		relatives = append(relatives, strings.Join(attributes, "+"))
	}
	return strings.Join(relatives, ",")
}

// valueText is a value as RFC 4514, section 2.4, writes it.
func valueText(e ber.Element) string {
	text, ok := stringOf(e)
	if !ok {
		return "#" + hex.EncodeToString(e.Full)
	}
	escaped := Escape(text, `"+,;<>`)
	if strings.HasPrefix(escaped, "#") || strings.HasPrefix(escaped, " ") {
		escaped = `\` + escaped
	}
	if strings.HasSuffix(text, " ") && len(text) > 1 {
		escaped = escaped[:len(escaped)-1] + `\ `
	}
	return escaped
}

// stringOf decodes the string types (X.680, section 41). TeletexString is read as
// Latin-1, as OpenSSL does; where a type allows ASCII only, other bytes are read as
// UTF-8 if they are, and else as Latin-1.
func stringOf(e ber.Element) (string, bool) {
	if e.Class != ber.Universal || e.Constructed {
		return "", false
	}
	switch b := e.Content; e.Tag {
	case 12, 18, 19, 21, 22, 26, 27: // UTF8, Numeric, Printable, Videotex, IA5, Visible and GeneralString
		if utf8.Valid(b) {
			return string(b), true
		}
		return latin1(b), true
	case 20: // TeletexString
		return latin1(b), true
	case 28: // UniversalString, UTF-32
		var runes []rune
		for ; len(b) >= 4; b = b[4:] {
			r := binary.BigEndian.Uint32(b)
			if r > unicode.MaxRune {
				return "", false
			}
			runes = append(runes, rune(r))
		}
		return string(runes), len(b) == 0
	case 30: // BMPString, UTF-16
		var units []uint16
		for ; len(b) >= 2; b = b[2:] {
			units = append(units, binary.BigEndian.Uint16(b))
		}
		return string(utf16.Decode(units)), len(b) == 0
	}
	return "", false
}

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// SameName reports whether two DER-encoded names are the same as RFC 5280, section
// 7.1, compares them: without regard to the case of letters, to the number of spaces
// and to the type of strings.
func SameName(a, b []byte) bool {
	return string(a) == string(b) || canonical(a) == canonical(b)
}

// canonical is the same text for names that are the same.
func canonical(raw []byte) string {
	e, err := ber.Only(raw)
	if err != nil {
		return string(raw)
	}
	name, err := readName(e)
	if err != nil {
		return string(raw)
	}
	var all strings.Builder
	for _, relative := range name {
		var attributes []string
		for _, a := range relative {
			value := string(a.value.Full)
			if text, ok := stringOf(a.value); ok {
				value = strings.Join(strings.Fields(strings.ToLower(text)), " ")
			}
			attributes = append(attributes, a.oid+"="+hex.EncodeToString([]byte(value)))
		}
		slices.Sort(attributes)
		all.WriteString(strings.Join(attributes, "+") + ",")
	}
	return all.String()
}
