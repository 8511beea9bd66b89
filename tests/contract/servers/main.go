// Go's net/http as a gateway: prints each path it has read to its end. SIGTERM is a graceful shutdown.
// main PORT KEY_AND_CERTIFICATE MAX_STREAMS
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	limit, _ := strconv.Atoi(os.Args[3])
	log, _ := os.OpenFile(os.Args[2]+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	var lock sync.Mutex
	handle := func(answer http.ResponseWriter, request *http.Request) {
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		lock.Lock()
		fmt.Fprintln(log, request.URL.Path)
		lock.Unlock()
		if strings.HasSuffix(request.URL.Path, "99") {
			panic(http.ErrAbortHandler) // RST_STREAM
		}
		if strings.HasSuffix(request.URL.Path, "7") {
			answer.WriteHeader(http.StatusGone)
		}
		fmt.Fprint(answer, "{}")
	}
	server := &http.Server{
		Addr:    "127.0.0.1:" + os.Args[1],
		Handler: http.HandlerFunc(handle),
		HTTP2:   &http.HTTP2Config{MaxConcurrentStreams: limit},
	}
	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGTERM)
	go func() {
		<-done
		patience, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		server.Shutdown(patience)
		os.Exit(0)
	}()
	fmt.Println(server.ListenAndServeTLS(os.Args[2], os.Args[2]))
}
