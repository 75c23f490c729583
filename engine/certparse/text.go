package certparse

import (
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-dev/countersign/engine/ber"
)

// Escape writes a backslash before a backslash and before the special characters, and
// the UTF-8 octets of characters that cannot be printed as \XX (RFC 4514, section
// 2.4). Of the spaces, only the one of ASCII is printed.
func Escape(text, special string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\\' || strings.ContainsRune(special, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			_, size := utf8.DecodeRuneInString(text[i:])
			writeOctets(&b, text[i:i+size])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func writeOctets(b *strings.Builder, octets string) {
	for i := range len(octets) {
		b.WriteString(`\` + strings.ToUpper(hex.EncodeToString([]byte{octets[i]})))
	}
}

// Cut is the text, or its first characters and an ellipsis if it has more.
func Cut(text string, characters int) string {
	for i := range text {
		if characters == 0 {
			return text[:i] + "…"
		}
		characters--
	}
	return text
}

// Serial is the serial number in hexadecimal, in whole octets, with a minus sign if it
// is negative.
func Serial(c *x509.Certificate) string {
	octets := new(big.Int).Abs(c.SerialNumber).Bytes()
	if len(octets) == 0 {
		octets = []byte{0}
	}
	text := hex.EncodeToString(octets)
	if c.SerialNumber.Sign() < 0 {
		text = "-" + text
	}
	return text
}

// AltNames are the subject alternative names (RFC 5280, section 4.2.1.6) in their
// order. Host names, addresses, e-mail addresses and URIs are plain text; the others
// begin with their kind, such as "UPN:" and "DirName:".
func AltNames(c *x509.Certificate) []string {
	names := []string{}
	for _, extension := range c.Extensions {
		if extension.Id.String() != "2.5.29.17" {
			continue
		}
		list, err := ber.Only(extension.Value)
		if err != nil {
			continue
		}
		general, err := list.Sequence(0)
		if err != nil {
			continue
		}
		for _, e := range general {
			names = append(names, generalName(e))
		}
	}
	return names
}

func generalName(e ber.Element) string {
	separated := strings.NewReplacer(" ", `\20`, ",", `\2C`) // neither an e-mail address nor a host name has these
	hexadecimal := "#" + hex.EncodeToString(e.Content)
	if e.Class != ber.ContextSpecific {
		return "unknown:" + hexadecimal
	}
	switch e.Tag {
	case 0:
		return otherName(e, hexadecimal)
	case 1:
		address := separated.Replace(Escape(ascii(e.Content), ""))
		if !strings.Contains(address, "@") {
			return "email:" + address // it must not look like a host name
		}
		return address
	case 2: // a host name has no colon, with which the names of other kinds begin
		return strings.ReplaceAll(separated.Replace(Escape(ascii(e.Content), "")), ":", `\3A`)
	case 3:
		return "X400:" + hexadecimal
	case 4:
		if name, err := e.Explicit(); err == nil {
			return "DirName:" + nameText(name)
		}
		return "DirName:" + hexadecimal
	case 5:
		return "EdiParty:" + hexadecimal
	case 6:
		uri := strings.ReplaceAll(Escape(ascii(e.Content), ""), " ", `\20`)
		if !strings.Contains(uri, ":") {
			return "URI:" + uri
		}
		return uri
	case 7:
		if address, ok := netip.AddrFromSlice(e.Content); ok {
			return address.String()
		}
		return "IP:" + hexadecimal
	case 8:
		registered := ber.Element{Tag: ber.OID, Content: e.Content}
		return "RID:" + registered.OID()
	}
	return "unknown:" + hexadecimal
}

// ascii reads an IA5String with an implicit tag.
func ascii(content []byte) string {
	text, _ := stringOf(ber.Element{Tag: 22, Content: content})
	return text
}

// otherName is its type's name or object identifier, and its value.
func otherName(e ber.Element, hexadecimal string) string {
	parts, err := e.Children()
	if err != nil || len(parts) != 2 {
		return "otherName:" + hexadecimal
	}
	kind := nameOr(attributeNames, parts[0].OID())
	value, err := parts[1].Explicit()
	if err != nil {
		return kind + ":" + hexadecimal
	}
	return kind + ":" + valueText(value)
}
