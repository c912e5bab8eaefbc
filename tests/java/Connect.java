// Copyright (c) the pgops.tls authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;

/** Connects by pgjdbc to each URL that is given, and prints a line for each: who it is with which certificate, or why not. */
public class Connect {
    static final String ASK = "SELECT current_user || ' ' || coalesce(client_serial::text, 'none')"
        + " FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

    public static void main(String[] urls) {
        for (String url : urls) {
            System.out.println(connect(url));
        }
    }

    private static String connect(String url) {
        try (Connection connection = DriverManager.getConnection(url)) {
            ResultSet found = connection.createStatement().executeQuery(ASK);
            found.next();
            return "ok " + found.getString(1);
        } catch (SQLException error) {
            StringBuilder why = new StringBuilder("failed");
            for (Throwable one = error; one != null; one = one.getCause()) {
                why.append(": ").append(one.getMessage());
            }
            return why.toString().replaceAll("\\s+", " ");
        }
    }
}
