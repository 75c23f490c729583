// Package chart renders the Helm chart as `helm template` does, without a cluster.
package chart

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

// Folder has the chart, seen from deploy/.
const Folder = "helm/countersign"

// Header is the beginning of the manifests that are rendered from it.
const Header = "# Made by `make manifests` from deploy/helm and values.yaml; change those.\n"

// Render renders the chart of a folder with values in place of its own, for a release of
// a name in a namespace. It returns the documents in the order of their files.
func Render(folder, release, namespace string, values map[string]any) (string, error) {
	c, err := loader.LoadDir(folder)
	if err != nil {
		return "", fmt.Errorf("read chart: %w", err)
	}
	options := common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, values, options, common.DefaultCapabilities)
	if err != nil {
		return "", fmt.Errorf("merge values: %w", err)
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", fmt.Errorf("render chart: %w", err)
	}
	var documents []string
	for _, name := range slices.SortedFunc(maps.Keys(files), cmp.Compare) {
		for document := range strings.SplitSeq(files[name], "\n---\n") {
			if document = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(document), "---")); document != "" && !strings.HasSuffix(name, ".tpl") {
				documents = append(documents, document+"\n")
			}
		}
	}
	return strings.Join(documents, "---\n"), nil
}
