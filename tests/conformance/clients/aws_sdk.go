// AWS SDK for Go, version 2: what Terraform, Loki, Thanos and Velero send; uploads from readers that cannot be sent twice.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

var (
	ctx    = context.Background()
	bucket = os.Getenv("S3_BUCKET")
	files  = os.Getenv("S3_FILES")
	web    = http.DefaultClient
	client *s3.Client
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(good bool, what string) {
	if !good {
		panic(errors.New(what))
	}
}

func refused(err error, code string) {
	var api smithy.APIError
	check(errors.As(err, &api), fmt.Sprintf("%s was expected: %v", code, err))
	check(api.ErrorCode() == code, api.ErrorCode()+" instead of "+code)
}

func put(key string, body io.Reader, change func(*s3.PutObjectInput)) (*s3.PutObjectOutput, error) {
	input := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body}
	if change != nil {
		change(input)
	}
	return client.PutObject(ctx, input)
}

func read(key string, part string) []byte {
	input := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if part != "" {
		input.Range = &part
	}
	answer, err := client.GetObject(ctx, input)
	must(err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	must(err)
	return data
}

func putFiles() {
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	must(err)
	must(filepath.Walk(files, func(path string, info os.FileInfo, err error) error {
		must(err)
		if info.IsDir() {
			return nil
		}
		key := strings.TrimPrefix(path, files+"/")
		data, err := os.ReadFile(path)
		must(err)
		_, err = put(key, bytes.NewReader(data), nil)
		must(err)
		check(bytes.Equal(read(key, ""), data), "other bytes: "+key)
		return nil
	}))
}

func uploads() {
	data, err := os.ReadFile(filepath.Join(files, "big.bin"))
	must(err)
	up := manager.NewUploader(client, func(u *manager.Uploader) { u.PartSize = 5 << 20 })
	// A reader that cannot be rewound: its body is sent in chunks, with the checksum behind it over TLS.
	_, err = up.Upload(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("streamed"), Body: io.MultiReader(bytes.NewReader(data))})
	must(err)
	check(bytes.Equal(read("streamed", ""), data), "other bytes")
	check(bytes.Equal(read("streamed", "bytes=1000-1999"), data[1000:2000]), "other range")
	buffer := manager.NewWriteAtBuffer(nil)
	_, err = manager.NewDownloader(client).Download(ctx, buffer, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("streamed")})
	must(err)
	check(bytes.Equal(buffer.Bytes(), data), "other bytes in parts")
}

func checksums() {
	for _, algorithm := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
		_, err := put("sum", strings.NewReader("data"), func(i *s3.PutObjectInput) { i.ChecksumAlgorithm = algorithm })
		must(err)
		check(string(read("sum", "")) == "data", "other bytes")
	}
	_, err := put("sum", strings.NewReader("data"), func(i *s3.PutObjectInput) { i.ChecksumCRC32 = aws.String("AAAAAA==") })
	refused(err, "BadDigest")
}

func conditional() {
	first, err := put("c", strings.NewReader("1"), nil)
	must(err)
	_, err = put("c", strings.NewReader("2"), func(i *s3.PutObjectInput) { i.IfNoneMatch = aws.String("*") })
	refused(err, "PreconditionFailed")
	_, err = put("c", strings.NewReader("3"), func(i *s3.PutObjectInput) { i.IfMatch = first.ETag })
	must(err)
	_, err = put("c", strings.NewReader("4"), func(i *s3.PutObjectInput) { i.IfMatch = first.ETag })
	refused(err, "PreconditionFailed")
}

func presigned() {
	signed, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("c")})
	must(err)
	answer, err := web.Get(signed.URL)
	must(err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	must(err)
	check(string(data) == "3", fmt.Sprint(answer.StatusCode, string(data)))
}

func cleanUp() {
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(err)
		var every []types.ObjectIdentifier
		for _, entry := range page.Contents {
			every = append(every, types.ObjectIdentifier{Key: entry.Key})
		}
		_, err = client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: every}})
		must(err)
	}
	_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("c")})
	refused(err, "NoSuchKey")
	_, err = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	must(err)
}

func play(name string, scenario func()) {
	line := map[string]string{"scenario": name, "result": "ok"}
	defer func() {
		if failure := recover(); failure != nil {
			line["result"], line["detail"] = "failed", fmt.Sprint(failure)
		}
		out, _ := json.Marshal(line)
		fmt.Println("@@ " + string(out))
	}()
	scenario()
}

func main() {
	if ca := os.Getenv("S3_CA"); ca != "" {
		pem, err := os.ReadFile(ca)
		must(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		web = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	}
	client = s3.New(s3.Options{
		BaseEndpoint: aws.String(os.Getenv("S3_URL")),
		Region:       os.Getenv("S3_REGION"),
		UsePathStyle: os.Getenv("S3_STYLE") == "path",
		Credentials:  credentials.NewStaticCredentialsProvider(os.Getenv("S3_ACCESS_KEY"), os.Getenv("S3_SECRET_KEY"), ""),
		HTTPClient:   web,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	})
	play("files", putFiles)
	play("streamed uploads", uploads)
	play("checksums", checksums)
	play("conditional", conditional)
	play("presigned", presigned)
	play("clean up", cleanUp)
}
