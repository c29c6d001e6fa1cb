// Package suite is the Gateway API's official conformance suite as one program, and what came of a
// run in a few lines.
package suite

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	report "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/yaml"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }

func TestMain(m *testing.M) {
	code := m.Run()
	if file := flag.Lookup("report-output").Value.String(); file != "" {
		if err := summarize(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Prints what is in a report, each line with a mark by which it is found among the suite's own.
func summarize(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the suite wrote no report: %w", err)
	}
	var all report.ConformanceReport
	if err := yaml.Unmarshal(content, &all); err != nil {
		return err
	}
	for _, profile := range all.ProfileReports {
		summarizePart(profile.Name, "core", profile.Core)
		if extended := profile.Extended; extended != nil {
			summarizePart(profile.Name, "extended", extended.Status)
			summarizeNames("not offered", extended.UnsupportedFeatures)
		}
	}
	return nil
}

func summarizePart(profile, part string, status report.Status) {
	numbers := status.Statistics
	total := numbers.Passed + numbers.Failed + numbers.Skipped
	fmt.Printf("summary: %-12s %-8s %2d of %2d passed\n", profile, part, numbers.Passed, total)
	summarizeNames("failed", status.FailedTests)
	summarizeNames("skipped", status.SkippedTests)
}

func summarizeNames(what string, names []string) {
	if len(names) > 0 {
		fmt.Printf("summary:   %s: %s\n", what, strings.Join(names, ", "))
	}
}
