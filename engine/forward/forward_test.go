package forward

import (
	"strings"
	"testing"
)

// The encoding in CEF follows its escapes, so that no member can end a header, begin
// another member or begin a line.
func TestCEF(t *testing.T) {
	for i, want := range []string{
		`CEF:0|Countersign|Countersign|1.2\|3|cert.downloaded|cert.downloaded|3|rt=1777896000123 outcome=success externalId=a suid=user_1 suser=olga src=192.0.2.1 ` +
			`requestClientApplication=curl/8 cn1Label=number cn1=7 cs1Label=chain cs1=proj_a cs2Label=hash cs2=11 cs3Label=previousHash cs3=00 ` +
			`cs4Label=certificate cs4=cert_1 cs5Label=request cs5=req_1 cs6Label=format cs6=key.pem msg={"sha256":"ab","size":"3"}`,
		`CEF:0|Countersign|Countersign|1.2\|3|login.failed|login.failed|6|rt=1777896001123 outcome=refused externalId=b suser=a|b\=c\\d\nCEF:0|x c6a2=2001:db8::1 ` +
			`requestClientApplication=x\r\n<110>1 - - - - - - forged cn1Label=number cn1=1 cs1Label=chain cs1=system cs2Label=hash cs2=22`,
	} {
		line, err := named(t, "cef")(entries[i])
		if err != nil || string(line) != want {
			t.Errorf("%v\n%s\nwanted\n%s", err, line, want)
		}
	}
}

func TestEveryEncodingIsOneLine(t *testing.T) {
	for _, name := range []string{"json", "cef"} {
		text, err := named(t, name).lines(entries)
		if err != nil || strings.Count(string(text), "\n") != len(entries) || strings.ContainsAny(string(text), "\r") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := NewEncoding("xml", ""); err == nil {
		t.Error("an unknown encoding is taken")
	}
}
