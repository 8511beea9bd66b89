import com.eatthepath.pushy.apns.auth.ApnsVerificationKey;
import com.eatthepath.pushy.apns.server.MockApnsServer;
import com.eatthepath.pushy.apns.server.MockApnsServerBuilder;
import com.eatthepath.pushy.apns.server.PushNotificationHandler;
import com.eatthepath.pushy.apns.server.PushNotificationHandlerFactory;
import com.eatthepath.pushy.apns.server.ValidatingPushNotificationHandlerFactory;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * pushy's mock of APNs: Pushy PORT CERTIFICATE KEY PUBLIC_KEY LIMIT LOG.
 *
 * It knows the tokens of 64 digits that end in no 7 or 9; those that end in 9 are of a phone that went away. Its check
 * of signatures reads DER, and a JWT has R and S one behind the other (RFC 7518, section 3.4): converted here.
 */
public final class Pushy {
    private static final String TOPIC = "com.example.app";

    public static void main(String[] arguments) throws Exception {
        final ApnsVerificationKey key = ApnsVerificationKey.loadFromPkcs8File(new File(arguments[3]), "TEAM123456", "ABC123DEFG");
        final Set<String> tokens = new HashSet<>();
        final Map<String, Instant> gone = new HashMap<>();
        for (int number = 0; number < 10_000; number++) {
            final String token = String.format("%064x", number);
            if (number % 10 != 7) tokens.add(token);
            if (number % 10 == 9) gone.put(token, Instant.ofEpochMilli(1_700_000_000_000L));
        }
        final PushNotificationHandlerFactory validating = new ValidatingPushNotificationHandlerFactory(
            Map.of(TOPIC, tokens), gone, Map.of("ABC123DEFG", key), Map.of(key, Set.of(TOPIC)));
        final Path log = Path.of(arguments[5]);
        final MockApnsServer server = new MockApnsServerBuilder()
            .setServerCredentials(new File(arguments[1]), new File(arguments[2]), null)
            .setUseAlpn(true)
            .setMaxConcurrentStreams(Integer.parseInt(arguments[4]))
            .setHandlerFactory(session -> {
                final PushNotificationHandler handler = validating.buildHandler(session);
                return (headers, payload) -> {
                    final String path = headers.path().toString();
                    synchronized (Pushy.class) {
                        try {
                            Files.writeString(log, path + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
                        } catch (final java.io.IOException error) {
                            throw new java.io.UncheckedIOException(error);
                        }
                    }
                    headers.set("authorization", withDer(headers.get("authorization").toString()));
                    handler.handlePushNotification(headers, payload);
                };
            })
            .build();
        server.start(Integer.parseInt(arguments[0])).get();
        Thread.currentThread().join();
    }

    private static String withDer(final String line) {
        final int at = line.lastIndexOf('.') + 1;
        final byte[] raw = Base64.getUrlDecoder().decode(line.substring(at));
        final byte[] r = new BigInteger(1, java.util.Arrays.copyOfRange(raw, 0, 32)).toByteArray();
        final byte[] s = new BigInteger(1, java.util.Arrays.copyOfRange(raw, 32, 64)).toByteArray();
        final ByteArrayOutputStream der = new ByteArrayOutputStream();
        der.write(0x30);
        der.write(4 + r.length + s.length);
        for (final byte[] number : new byte[][] {r, s}) {
            der.write(0x02);
            der.write(number.length);
            der.writeBytes(number);
        }
        return line.substring(0, at) + Base64.getUrlEncoder().withoutPadding().encodeToString(der.toByteArray());
    }
}
