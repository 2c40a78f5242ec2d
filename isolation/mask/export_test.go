// SPDX-License-Identifier: Apache-2.0

package mask

import "strings"

// Naive masks the way in which one would say it.
func Naive(text string, secrets ...string) string {
	covered := make([]bool, len(text))
	for _, secret := range secrets {
		for form := range forms([]byte(secret)) {
			for i := 0; i+len(form) <= len(text); i++ {
				if text[i:i+len(form)] == form {
					for j := range len(form) {
						covered[i+j] = true
					}
				}
			}
		}
	}
	var out strings.Builder
	for i := range len(text) {
		switch {
		case !covered[i]:
			out.WriteByte(text[i])
		case i == 0 || !covered[i-1]:
			out.WriteString(Replacement)
		}
	}
	return out.String()
}
