// Copyright (c) the pgops.tls authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import sun.misc.Signal;

/**
 * A program with a pool of connections, for as long as there is the file GO. At SIGHUP it replaces them, one after the
 * other as they come back. Run by "java Pool.java GO URL". It prints how often it saw each certificate, and each fault.
 */
public class Pool {
    private static final int THREADS = 4;
    private static final int PAUSE = 5; // milliseconds between two checkouts of a thread
    private static final Map<String, AtomicInteger> SEEN = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        Path go = Path.of(arguments[0]);
        HikariConfig settings = new HikariConfig();
        settings.setJdbcUrl(arguments[1]);
        settings.setMaximumPoolSize(THREADS);
        try (HikariDataSource pool = new HikariDataSource(settings)) {
            Signal.handle(new Signal("HUP"), signal -> pool.getHikariPoolMXBean().softEvictConnections());
            Thread[] threads = new Thread[THREADS];
            for (int number = 0; number < THREADS; number++) {
                threads[number] = new Thread(() -> use(pool, go));
                threads[number].start();
            }
            System.out.println("ready");
            for (Thread thread : threads) {
                thread.join();
            }
        }
        SEEN.forEach((what, count) -> System.out.println(count + " " + what));
    }

    private static void use(HikariDataSource pool, Path go) {
        while (Files.exists(go)) {
            String seen;
            try (Connection connection = pool.getConnection()) {
                ResultSet found = connection.createStatement().executeQuery(
                    "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
                found.next();
                seen = "serial " + found.getString(1);
            } catch (SQLException error) {
                seen = "fault " + error.getMessage().replaceAll("\\s+", " ");
            }
            SEEN.computeIfAbsent(seen, any -> new AtomicInteger()).incrementAndGet();
            try {
                Thread.sleep(PAUSE);
            } catch (InterruptedException error) {
                return;
            }
        }
    }
}
