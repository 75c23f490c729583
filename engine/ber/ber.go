// Package ber reads the Basic Encoding Rules of ASN.1 (ITU-T X.690), which
// certificates and PKCS#12 files of the field use where their standards ask for DER:
// lengths that are indefinite or longer than needed, and strings in segments.
//
// Start with [Read]. It copies nothing: every element refers to the bytes that were
// given. Nesting is bounded, so hostile input costs at most 32 times its length.
package ber

import (
	"crypto/x509"
	"errors"
	"math/big"
)

// The classes of tags (X.690, section 8.1.2.2).
const (
	Universal       = 0
	ContextSpecific = 2
)

// The universal tags that certificates and PKCS#12 files use.
const (
	Boolean         = 1
	Integer         = 2
	BitString       = 3
	OctetString     = 4
	OID             = 6
	Sequence        = 16
	Set             = 17
	UTCTime         = 23
	GeneralizedTime = 24
)

// maxDepth bounds the nesting of indefinite lengths and of segmented strings.
const maxDepth = 32

var errMalformed = errors.New("malformed ASN.1")

// Element is one encoded value. Content is without the header and the end-of-contents
// octets, Full is with them.
type Element struct {
	Class, Tag    int
	Constructed   bool
	Content, Full []byte
}

// Read reads the first element of in and returns what follows it.
func Read(in []byte) (e Element, rest []byte, err error) { return read(in, maxDepth) }

// Only reads the one element that in consists of.
func Only(in []byte) (Element, error) {
	e, rest, err := Read(in)
	if err == nil && len(rest) > 0 {
		err = errors.New("data after the end of the ASN.1 value")
	}
	return e, err
}

func read(in []byte, depth int) (e Element, rest []byte, err error) {
	if len(in) < 2 || depth == 0 {
		return e, nil, errMalformed
	}
	e = Element{Class: int(in[0] >> 6), Constructed: in[0]&0x20 != 0, Tag: int(in[0] & 0x1f)}
	length, header := int(in[1]), 2
	if e.Tag == 0x1f { // a tag of several octets; none of our formats has one
		return e, nil, errMalformed
	}
	switch {
	case length == 0x80:
		return readIndefinite(e, in, depth)
	case length > 0x80:
		octets := length & 0x7f
		if octets > len(in)-header {
			return e, nil, errMalformed
		}
		length = 0
		for _, octet := range in[header : header+octets] {
			if length = length<<8 | int(octet); length > len(in) {
				return e, nil, errMalformed
			}
		}
		header += octets
	}
	if length > len(in)-header {
		return e, nil, errMalformed
	}
	e.Content, e.Full = in[header:header+length], in[:header+length]
	return e, in[header+length:], nil
}

// readIndefinite finds the end-of-contents octets (X.690, section 8.1.3.6).
func readIndefinite(e Element, in []byte, depth int) (Element, []byte, error) {
	if !e.Constructed {
		return e, nil, errMalformed
	}
	rest := in[2:]
	for {
		if len(rest) >= 2 && rest[0] == 0 && rest[1] == 0 {
			end := len(in) - len(rest)
			e.Content, e.Full = in[2:end], in[:end+2]
			return e, rest[2:], nil
		}
		var err error
		if _, rest, err = read(rest, depth-1); err != nil {
			return e, nil, err
		}
	}
}

// Is reports whether e has the class and the tag.
func (e Element) Is(class, tag int) bool { return e.Class == class && e.Tag == tag }

// Children reads the elements that e consists of.
func (e Element) Children() ([]Element, error) {
	if !e.Constructed {
		return nil, errMalformed
	}
	var children []Element
	for rest := e.Content; len(rest) > 0; {
		child, after, err := Read(rest)
		if err != nil {
			return nil, err
		}
		children, rest = append(children, child), after
	}
	return children, nil
}

// Sequence returns the elements of a SEQUENCE that has at least that many.
func (e Element) Sequence(atLeast int) ([]Element, error) {
	children, err := e.Children()
	if err == nil && (!e.Is(Universal, Sequence) || len(children) < atLeast) {
		err = errMalformed
	}
	if err != nil {
		return nil, err
	}
	return children, nil
}

// Explicit returns the one element in an explicit tag.
func (e Element) Explicit() (Element, error) {
	if !e.Constructed {
		return Element{}, errMalformed
	}
	return Only(e.Content)
}

// Octets returns the content of an OCTET STRING, also one in segments (X.690, section
// 8.7.3) and one with an implicit tag.
func (e Element) Octets() ([]byte, error) { return e.octets(maxDepth) }

func (e Element) octets(depth int) ([]byte, error) {
	if !e.Constructed {
		return e.Content, nil
	}
	segments, err := e.Children()
	if err != nil || depth == 0 {
		return nil, errors.Join(err, errMalformed)
	}
	all := []byte{}
	for _, segment := range segments {
		if !segment.Is(Universal, OctetString) {
			return nil, errMalformed
		}
		part, err := segment.octets(depth - 1)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

// OID is an object identifier in dotted decimal, or "" if e is none.
func (e Element) OID() string {
	var oid x509.OID
	if !e.Is(Universal, OID) || oid.UnmarshalBinary(e.Content) != nil {
		return ""
	}
	return oid.String()
}

// Int is the value of an INTEGER. A number of no octets is 0.
func (e Element) Int() *big.Int {
	n := new(big.Int).SetBytes(e.Content)
	if len(e.Content) > 0 && e.Content[0]&0x80 != 0 { // two's complement
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(e.Content))))
	}
	return n
}

// Algorithm splits an AlgorithmIdentifier (RFC 5280, section 4.1.1.2). Without
// parameters, the second result is the zero Element.
func (e Element) Algorithm() (oid string, parameters Element, err error) {
	parts, err := e.Sequence(1)
	if err != nil {
		return "", parameters, err
	}
	if oid = parts[0].OID(); oid == "" {
		return "", parameters, errMalformed
	}
	if len(parts) > 1 {
		parameters = parts[1]
	}
	return oid, parameters, nil
}
