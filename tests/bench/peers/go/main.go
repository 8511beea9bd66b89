// sideshow/apns2: one client, 100 goroutines that push.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"
	"github.com/sideshow/apns2/token"
	"golang.org/x/net/http2"
)

const workers = 100

func cpu() float64 {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kilobytes / 1024
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == "github.com/sideshow/apns2" {
			return one.Version
		}
	}
	return "?"
}

func main() {
	requests, _ := strconv.Atoi(os.Getenv("REQUESTS"))
	key, err := token.AuthKeyFromFile(os.Getenv("APNS_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	client := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: "ABC123DEFG", TeamID: "TEAM123456"})
	client.Host = "https://" + os.Getenv("SINK_HOST") + ":" + os.Getenv("SINK_PORT")
	trusted, _ := os.ReadFile(os.Getenv("SINK_CA"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trusted)
	client.HTTPClient = &http.Client{
		Transport: &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DialTLS: apns2.DialTLS},
		Timeout:   apns2.HTTPClientTimeout,
	}

	numbers := make(chan int, workers)
	var done atomic.Int64
	var cpuBegan float64
	var began time.Time
	var all sync.WaitGroup
	for range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for number := range numbers {
				message := payload.NewPayload().AlertTitle("Hello! Who joined?").
					AlertBody("3 people you may know joined this week").
					Custom("screen", "people").Custom("deep_link", "app://people").
					Custom("run", "rrrrrrrrrrrrrrrrrrrr").Custom("campaign", "bench").Custom("arm", "question")
				note := &apns2.Notification{DeviceToken: fmt.Sprintf("%064x", number), Topic: "com.example.app", Payload: message}
				answer, err := client.Push(note)
				if err != nil || !answer.Sent() {
					log.Fatal(err, answer)
				}
				if done.Add(1) == int64(requests/10) {
					cpuBegan, began = cpu(), time.Now()
				}
			}
		}()
	}
	for number := range requests {
		numbers <- number
	}
	close(numbers)
	all.Wait()
	figures := map[string]any{
		"requests":    requests - requests/10,
		"cpu_s":       cpu() - cpuBegan,
		"wall_s":      time.Since(began).Seconds(),
		"peak_rss_mb": peak(),
		"version":     version(),
	}
	_ = json.NewEncoder(os.Stdout).Encode(figures)
}
