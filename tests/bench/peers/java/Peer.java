import com.eatthepath.pushy.apns.ApnsClient;
import com.eatthepath.pushy.apns.ApnsClientBuilder;
import com.eatthepath.pushy.apns.auth.ApnsSigningKey;
import com.eatthepath.pushy.apns.util.SimpleApnsPayloadBuilder;
import com.eatthepath.pushy.apns.util.SimpleApnsPushNotification;
import com.sun.management.OperatingSystemMXBean;
import java.io.File;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;

/** pushy: one client, at most 1,000 notifications in flight. */
public final class Peer {
    private static final int IN_FLIGHT = 1000;

    public static void main(String[] arguments) throws Exception {
        final int requests = Integer.parseInt(System.getenv("REQUESTS"));
        final ApnsClient client = new ApnsClientBuilder()
            .setApnsServer(System.getenv("SINK_HOST"), Integer.parseInt(System.getenv("SINK_PORT")))
            .setTrustedServerCertificateChain(new File(System.getenv("SINK_CA")))
            .setSigningKey(ApnsSigningKey.loadFromPkcs8File(new File(System.getenv("APNS_KEY")), "TEAM123456", "ABC123DEFG"))
            .build();
        final OperatingSystemMXBean machine = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        final Semaphore room = new Semaphore(IN_FLIGHT);
        final AtomicLong done = new AtomicLong();
        final AtomicLong failed = new AtomicLong();
        final long[] began = new long[2];
        for (int number = 0; number < requests; number++) {
            room.acquire();
            final String payload = new SimpleApnsPayloadBuilder()
                .setAlertTitle("Hello! Who joined?").setAlertBody("3 people you may know joined this week")
                .addCustomProperty("screen", "people").addCustomProperty("deep_link", "app://people")
                .addCustomProperty("run", "rrrrrrrrrrrrrrrrrrrr").addCustomProperty("campaign", "bench")
                .addCustomProperty("arm", "question").build();
            final SimpleApnsPushNotification push =
                new SimpleApnsPushNotification(String.format("%064x", number), "com.example.app", payload);
            client.sendNotification(push).whenComplete((answer, error) -> {
                if (error != null || !answer.isAccepted()) failed.incrementAndGet();
                if (done.incrementAndGet() == requests / 10) {
                    began[0] = machine.getProcessCpuTime();
                    began[1] = System.nanoTime();
                }
                room.release();
            });
        }
        room.acquire(IN_FLIGHT);
        final double cpu = (machine.getProcessCpuTime() - began[0]) / 1e9;
        final double wall = (System.nanoTime() - began[1]) / 1e9;
        if (failed.get() > 0) {
            System.err.println(failed.get() + " failed");
            System.exit(1);
        }
        double peak = 0;
        for (final String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM")) peak = Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024;
        }
        System.out.printf(
            "{\"requests\": %d, \"cpu_s\": %f, \"wall_s\": %f, \"peak_rss_mb\": %f, \"version\": \"%s\"}%n",
            requests - requests / 10, cpu, wall, peak, System.getProperty("pushy.version", "0.15.4"));
        client.close().get();
        System.exit(0);
    }
}
