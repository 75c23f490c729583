package main

import (
	"archive/zip"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

var files = map[string][]byte{
	"cert.pem": []byte("the certificate\n"), "chain.pem": []byte("its chain\n"), "fullchain.pem": []byte("both\n"),
	"key.pem": []byte("the key\n"), "bundle.pkcs12": {0x30, 0x00},
}

func TestRenderIsGolden(t *testing.T) {
	got, err := renderer{}.Render(t.Context(), sdk.Job{Format: "zip", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Golden(t, "bundle.zip", got)
}

func TestArchiveContainsTheFiles(t *testing.T) {
	got, err := render(sdk.Job{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(got), int64(len(got)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range archive.File {
		names = append(names, entry.Name)
		reader, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil || !bytes.Equal(content, files[entry.Name]) {
			t.Errorf("%s contains %q, %v", entry.Name, content, err)
		}
		if mode := entry.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s unpacks with mode %04o", entry.Name, mode)
		}
	}
	if want := []string{"bundle.pkcs12", "cert.pem", "chain.pem", "fullchain.pem", "key.pem"}; !slices.Equal(names, want) {
		t.Errorf("the archive contains %q, want %q", names, want)
	}
}

func TestRenderRefusesAnEmptyJob(t *testing.T) {
	if file, err := render(sdk.Job{Format: "zip"}); err == nil {
		t.Errorf("rendered %q", file)
	}
}

// keytool reads every entry of an archive because it searches for signatures.
func TestJavaReadsTheArchive(t *testing.T) {
	got, err := render(sdk.Job{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if printed := sdktest.Run(t, got, "keytool", "-J-Duser.language=en", "-printcert", "-jarfile"); !strings.Contains(printed, "Not a signed jar file") {
		t.Errorf("keytool says %q", printed)
	}
}
