// What another assembly imports for all.

using System.Runtime.InteropServices;

public static class Imports
{
    [DllImport("gate")]
    public static extern int gate(int wait);

    public static int Count(int number)
    {
        return number + 1;
    }

    public static class Nested
    {
        [DllImport("gate")]
        public static extern int gate(int wait);
    }
}
