// AWS SDK for Java, version 2: over HTTP it signs every chunk of a body (STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER), which no other SDK does.
import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.net.ssl.TrustManagerFactory;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.*;

public class AwsSdk {
    interface Play { void run() throws Exception; }

    static final String BUCKET = System.getenv("S3_BUCKET");
    static final Path FILES = Path.of(System.getenv("S3_FILES"));
    static S3Client s3;

    static void scenario(String name, Play play) {
        String result = "ok";
        String detail = "";
        try {
            play.run();
        } catch (Throwable failure) {
            result = "failed";
            detail = failure.toString().replace("\\", "/").replace("\"", "'").replaceAll("\\s+", " ");
            detail = detail.substring(0, Math.min(600, detail.length()));
        }
        System.out.println("@@ {\"scenario\": \"" + name + "\", \"result\": \"" + result + "\", \"detail\": \"" + detail + "\"}");
    }

    static void check(boolean good, String what) {
        if (!good) throw new AssertionError(what);
    }

    static void refused(String code, Play play) throws Exception {
        try {
            play.run();
        } catch (S3Exception failure) {
            String found = failure.awsErrorDetails() == null ? "" : failure.awsErrorDetails().errorCode();
            check(code.equals(found), found + " instead of " + code);
            return;
        }
        throw new AssertionError(code + " was expected");
    }

    static byte[] read(String key) {
        return s3.getObjectAsBytes(b -> b.bucket(BUCKET).key(key)).asByteArray();
    }

    static S3Client client() throws Exception {
        var http = UrlConnectionHttpClient.builder();
        String ca = System.getenv("S3_CA");
        if (!ca.isEmpty()) {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            try (FileInputStream in = new FileInputStream(ca)) {
                store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
            }
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            http.tlsTrustManagersProvider(trust::getTrustManagers);
        }
        return S3Client.builder()
            .endpointOverride(URI.create(System.getenv("S3_URL"))).region(Region.of(System.getenv("S3_REGION")))
            .forcePathStyle(System.getenv("S3_STYLE").equals("path")).httpClientBuilder(http)
            .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create(System.getenv("S3_ACCESS_KEY"), System.getenv("S3_SECRET_KEY"))))
            .build();
    }

    public static void main(String[] arguments) throws Exception {
        s3 = client();
        byte[] big = Files.readAllBytes(FILES.resolve("big.bin"));
        scenario("files", () -> {
            s3.createBucket(b -> b.bucket(BUCKET));
            try (var walk = Files.walk(FILES)) {
                for (Path path : walk.filter(Files::isRegularFile).toList()) {
                    String key = FILES.relativize(path).toString();
                    s3.putObject(b -> b.bucket(BUCKET).key(key), path);
                    check(Arrays.equals(read(key), Files.readAllBytes(path)), "other bytes: " + key);
                }
            }
        });
        scenario("streamed uploads", () -> {
            for (int size : new int[] {0, 1, 131071, 131072, 131073, 5_000_000}) {
                byte[] data = Arrays.copyOf(big, size);
                s3.putObject(b -> b.bucket(BUCKET).key("streamed"), RequestBody.fromInputStream(new ByteArrayInputStream(data), size));
                check(Arrays.equals(read("streamed"), data), "other bytes: " + size);
            }
        });
        scenario("checksums", () -> {
            for (ChecksumAlgorithm algorithm : new ChecksumAlgorithm[] {ChecksumAlgorithm.CRC32, ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256}) {
                s3.putObject(b -> b.bucket(BUCKET).key("sum").checksumAlgorithm(algorithm), RequestBody.fromString("data"));
                check(new String(read("sum")).equals("data"), "other bytes");
            }
            refused("BadDigest", () -> s3.putObject(b -> b.bucket(BUCKET).key("sum").checksumCRC32("AAAAAA=="), RequestBody.fromString("data")));
        });
        scenario("multipart", () -> {
            String upload = s3.createMultipartUpload(b -> b.bucket(BUCKET).key("parts")).uploadId();
            List<CompletedPart> parts = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                int number = i + 1;
                byte[] part = Arrays.copyOfRange(big, i * (5 << 20), (i + 1) * (5 << 20));
                String etag = s3.uploadPart(b -> b.bucket(BUCKET).key("parts").uploadId(upload).partNumber(number), RequestBody.fromBytes(part)).eTag();
                parts.add(CompletedPart.builder().partNumber(number).eTag(etag).build());
            }
            s3.completeMultipartUpload(b -> b.bucket(BUCKET).key("parts").uploadId(upload).multipartUpload(m -> m.parts(parts)));
            check(Arrays.equals(read("parts"), big), "other bytes");
        });
        scenario("conditional", () -> {
            String etag = s3.putObject(b -> b.bucket(BUCKET).key("c"), RequestBody.fromString("1")).eTag();
            refused("PreconditionFailed", () -> s3.putObject(b -> b.bucket(BUCKET).key("c").ifNoneMatch("*"), RequestBody.fromString("2")));
            s3.putObject(b -> b.bucket(BUCKET).key("c").ifMatch(etag), RequestBody.fromString("3"));
            refused("PreconditionFailed", () -> s3.putObject(b -> b.bucket(BUCKET).key("c").ifMatch(etag), RequestBody.fromString("4")));
            check(new String(read("c")).equals("3"), "other bytes");
        });
        scenario("clean up", () -> {
            refused("NoSuchKey", () -> read("missing"));
            for (var page : s3.listObjectsV2Paginator(b -> b.bucket(BUCKET).maxKeys(3))) {
                List<ObjectIdentifier> every = page.contents().stream().map(o -> ObjectIdentifier.builder().key(o.key()).build()).toList();
                s3.deleteObjects(b -> b.bucket(BUCKET).delete(d -> d.objects(every)));
            }
            s3.deleteBucket(b -> b.bucket(BUCKET));
        });
        System.exit(0);
    }
}
