package sdk_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// greeting declares the options of the format below.
type greeting struct {
	Words string `json:"words" default:"hello" maxLength:"20" title:"Words"`
	Loud  bool   `json:"loud" title:"Loud" description:"Write the text in upper case."`
}

type greeter struct{}

func (greeter) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "greeting", Filename: "greeting.txt", MediaType: "text/plain",
		OptionsSchema: sdk.OptionsSchema[greeting](),
	}}
}

func (greeter) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	options, err := sdk.Options[greeting](job)
	if err != nil {
		return nil, err
	}
	text := options.Words + ", " + job.Name
	if options.Loud {
		text = strings.ToUpper(text)
	}
	return []byte(text), nil
}

// A format declares its options as a struct. The SDK derives the schema from it and
// reads the options of a job into it.
func ExampleOptions() {
	for _, options := range []string{`{}`, `{"loud":true}`, `{"volume":11}`} {
		file, err := greeter{}.Render(context.Background(), sdk.Job{Name: "shop", Options: []byte(options)})
		fmt.Printf("%s %v\n", file, err)
	}
	// Output:
	// hello, shop <nil>
	// HELLO, SHOP <nil>
	//  read options: option "volume" is unknown
}
