// Copyright (c) the pgops.tls authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/**
 * Connects again and again by pgjdbc, for as long as there is the file GO; see connecting.py for what it prints.
 *
 * Run by "java Connecting GO CONNINFO...". pgjdbc takes keys as PKCS#8 DER: those of a generation are converted once.
 */
public class Connecting {
    private static final Path CURRENT = Path.of(System.getProperty("user.home"), ".postgresql/pgops/current");
    private static final int PAUSE = 400; // milliseconds between two connections of a loop

    public static void main(String[] arguments) throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (String conninfo : List.of(arguments).subList(1, arguments.length)) {
            Thread thread = new Thread(() -> connectAgainAndAgain(Path.of(arguments[0]), conninfo));
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void connectAgainAndAgain(Path go, String conninfo) {
        Map<String, Integer> counts = new TreeMap<>();
        Map<Path, Path> converted = new HashMap<>();
        int number = 0;
        int firstFault = 0;
        int lastSuccess = 0;
        while (Files.exists(go)) {
            String fault = connect(words(conninfo), converted);
            number++;
            counts.merge(fault, 1, Integer::sum);
            if (fault.isEmpty()) {
                lastSuccess = number;
            } else if (firstFault == 0) {
                firstFault = number;
            }
            try {
                Thread.sleep(PAUSE);
            } catch (InterruptedException error) {
                break;
            }
        }
        List<String> counted = new ArrayList<>();
        counts.forEach((fault, count) -> counted.add(quoted(fault) + ": " + count));
        System.out.println(
            "{\"kind\": \"pgjdbc\", \"conninfo\": " + quoted(conninfo) + ", \"counts\": {" + String.join(", ", counted)
                + "}, \"first_fault\": " + firstFault + ", \"last_success\": " + lastSuccess + "}");
    }

    private static Map<String, String> words(String conninfo) {
        Map<String, String> found = new HashMap<>(Map.of("port", "5432"));
        for (String word : conninfo.split(" ")) {
            found.put(word.substring(0, word.indexOf('=')), word.substring(word.indexOf('=') + 1));
        }
        return found;
    }

    /** Make one connection; return why it failed, "" when it did not. */
    private static String connect(Map<String, String> words, Map<Path, Path> converted) {
        try {
            Path files = files(words.get("user"), converted);
            Properties properties = new Properties();
            properties.setProperty("user", words.get("user"));
            properties.setProperty("sslmode", "verify-full");
            properties.setProperty("sslcert", files.resolve("postgresql.crt").toString());
            properties.setProperty("sslkey", files.resolve("postgresql.pk8").toString());
            properties.setProperty("sslrootcert", words.getOrDefault("sslrootcert", files.resolve("root.crt").toString()));
            properties.setProperty("loginTimeout", "60");
            String url = "jdbc:postgresql://" + words.get("host") + ":" + words.get("port") + "/" + words.get("dbname");
            try (Connection connection = DriverManager.getConnection(url, properties)) {
                connection.createStatement().executeQuery("SELECT 1");
            }
            return "";
        } catch (SQLException | IOException error) {
            Throwable cause = error.getCause();
            return error.getMessage() + (cause == null ? "" : " (" + cause.getMessage() + ")");
        }
    }

    /** Return a directory with all files of the generation in use, the key as pgjdbc takes it. */
    private static Path files(String role, Map<Path, Path> converted) throws IOException {
        while (true) {
            Path generation = CURRENT.toRealPath();
            try {
                if (!converted.containsKey(generation)) {
                    converted.put(generation, convert(generation, role));
                }
                return converted.get(generation);
            } catch (NoSuchFileException error) {
                if (generation.equals(CURRENT.toRealPath())) { // else it was replaced, twice, and is gone
                    throw error;
                }
            }
        }
    }

    private static Path convert(Path generation, String role) throws IOException {
        Path made = Files.createTempDirectory("pgjdbc");
        Files.copy(generation.resolve("root.crt"), made.resolve("root.crt"));
        Files.copy(generation.resolve(role + "/postgresql.crt"), made.resolve("postgresql.crt"));
        String pem = Files.readString(generation.resolve(role + "/postgresql.key"));
        String key = pem.replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        Files.write(made.resolve("postgresql.pk8"), Base64.getDecoder().decode(key));
        return made;
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\s+", " ") + '"';
    }
}
